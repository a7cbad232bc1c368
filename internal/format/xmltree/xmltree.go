// Package xmltree reads XML from strangers: bounded in bytes, depth and elements, without
// namespaces, without anything outside the text. Names are local, since the files of Windows
// servicing change their prefixes and not their meaning. It interprets nothing.
package xmltree

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of what is read; the largest genuine files stay far below.
const (
	MaxBytes    = 32 << 20
	MaxDepth    = 64
	MaxElements = 1 << 18
)

// ErrLimit is the answer for what is beyond a limit.
var ErrLimit = errors.New("more XML than any genuine file has")

// Node is an element.
type Node struct {
	Name     string  `json:"name"`
	Attr     []Attr  `json:"attr,omitempty"`
	Children []*Node `json:"children,omitempty"`
	Text     string  `json:"text,omitempty"` // all of its own text, blanks at the ends cut off
}

// Attr is an attribute.
type Attr struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Get gives an attribute's value, or the empty string.
func (n *Node) Get(name string) string {
	for _, a := range n.Attr {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// Child gives the first child of the name; if there is none an empty node, so that calls chain.
func (n *Node) Child(name string) *Node {
	for _, c := range n.Children {
		if c.Name == name {
			return c
		}
	}
	return &Node{}
}

// All gives the children of the name.
func (n *Node) All(name string) (nodes []*Node) {
	for _, c := range n.Children {
		if c.Name == name {
			nodes = append(nodes, c)
		}
	}
	return nodes
}

// Find calls visit for n and everything below it that has the name, in the order of the text.
func (n *Node) Find(name string, visit func(*Node)) {
	if n.Name == name {
		visit(n)
	}
	for _, c := range n.Children {
		c.Find(name, visit)
	}
}

// Parse reads a document, or a fragment with several elements side by side: they are the
// children of the node it gives, which has no name.
func Parse(r io.Reader) (*Node, error) {
	root := &Node{}
	stack := []open{{node: root}}
	elements := 0
	err := scan(r, MaxBytes, func(t xml.Token) error {
		top := &stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			if elements++; elements > MaxElements || len(stack) > MaxDepth {
				return fmt.Errorf("%w: over %d elements, or deeper than %d", ErrLimit, MaxElements, MaxDepth)
			}
			n := &Node{Name: t.Name.Local, Attr: attributes(t)}
			top.node.Children = append(top.node.Children, n)
			stack = append(stack, open{node: n})
		case xml.EndElement:
			if len(stack) == 1 || top.node.Name != t.Name.Local {
				return fmt.Errorf("</%.100s> closes nothing", t.Name.Local)
			}
			top.node.Text = strings.TrimSpace(string(top.text))
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text = append(top.text, t...)
		}
		return nil
	})
	if err == nil && len(stack) > 1 {
		err = fmt.Errorf("<%.100s> is not closed", stack[len(stack)-1].node.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("XML: %w", err)
	}
	return root, nil
}

// open is an element that is being read.
type open struct {
	node *Node
	text []byte
}

func attributes(t xml.StartElement) (attr []Attr) {
	for _, a := range t.Attr {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			attr = append(attr, Attr{a.Name.Local, a.Value})
		}
	}
	return attr
}

// Each reads like Parse, but keeps nothing: it calls visit with each element as it begins, which
// has neither children nor text, and with its depth, from 0. It has no limit of elements.
func Each(r io.Reader, visit func(depth int, n Node) error) error {
	depth := 0
	err := scan(r, MaxBytes, func(t xml.Token) error {
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; depth > MaxDepth {
				return fmt.Errorf("%w: deeper than %d", ErrLimit, MaxDepth)
			}
			return visit(depth-1, Node{Name: t.Name.Local, Attr: attributes(t)})
		case xml.EndElement:
			depth--
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("XML: %w", err)
	}
	return nil
}

// scan gives all tokens. Entities that the text declares are not expanded but are errors, and
// text of many pieces (comments between) is bounded as all else is.
func scan(r io.Reader, limit int64, visit func(xml.Token) error) error {
	limited := &io.LimitedReader{R: r, N: limit + 1}
	br := bufio.NewReader(limited)
	if bom, err := br.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		if _, err := br.Discard(len(bom)); err != nil {
			return err
		}
	}
	d := xml.NewDecoder(br)
	for {
		t, err := d.RawToken()
		switch {
		case limited.N == 0:
			return fmt.Errorf("%w: over %d bytes", ErrLimit, limit)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := visit(t); err != nil {
			return err
		}
	}
}
