// Package alert decides what people must be told of: rules over the state of the fleet make
// conditions, conditions open and close alerts, and routes say which alerts go where and
// when again. Deciding is pure; Server looks and sends, by what its Store remembers. It
// sends through package notify.
package alert
