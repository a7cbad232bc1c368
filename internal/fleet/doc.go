// Package fleet is the server's work on many machines over time: it receives evidence,
// keeps it as it came, has it read and assessed, tells machines apart, and remembers how
// each stood and what changed.
//
// It knows no database and no pages: it states what it needs of a store in interfaces,
// which package store implements, and pages and messages are made from what it remembers.
//
// Whatever is acknowledged is on disk. All work is done in jobs that may run twice and may
// be cut off anywhere; what a job did counts when its one transaction is committed, and
// not before.
package fleet
