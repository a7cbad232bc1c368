// Package web is what the fleet server shows and takes over HTTP: pages for people, an API
// for programs. It looks at the fleet and asks it to do things; it decides nothing about
// machines.
//
// Every route stands in one list with what it takes to use it (see Route). What a request
// may do is settled before its handler runs, and a test asks every route as everybody.
package web
