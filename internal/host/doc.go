// Package host holds what the evidence says about one machine: facts with their sources,
// sets that know whether they are complete, and gaps.
//
// Unknown is a value here. Nothing in this package guesses, reads files or knows what
// Microsoft has published; what follows from facts and catalogue together is package
// infer's work.
package host
