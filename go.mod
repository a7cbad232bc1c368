module github.com/oldguard/oldguard

go 1.26
