// Package evidence turns what people bring from a machine (files, folders) into what
// package host can say about it. It finds out which reader understands a file, lets it
// read, descends into what is nested, and joins the files of one machine.
//
// It interprets no update and no version: what follows from the facts is package infer's
// work, and what Microsoft has published is the catalogue's. A file that nobody can read
// becomes a gap and never hides the others.
//
// The readers are in the packages below this one; package all lists them.
package evidence
