package document

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parse makes the tree of a text that holds one YAML document. It returns nil, with
// the mistake in the report, where there is none.
func parse(r *Report, text []byte) *yaml.Node {
	if len(text) > MaxText {
		r.add(place{}, "", "", "the document is larger than %d bytes", MaxText)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, rest yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]) {
		r.add(place{}, "", "", "the document is empty")
		return nil
	}
	if err != nil {
		syntaxMistake(r, text, err)
		return nil
	}
	switch err := dec.Decode(&rest); {
	case err == nil:
		r.add(placeOf(rest.Content[0]), "", "", "a second YAML document begins here; there may be only one in a file")
	case !errors.Is(err, io.EOF):
		syntaxMistake(r, text, err)
		return nil
	}
	return doc.Content[0]
}

// isMapping reports whether root is a mapping, and a mistake if it is not.
func isMapping(r *Report, root *yaml.Node) bool {
	if root.Kind != yaml.MappingNode {
		r.add(placeOf(root), "", "", "the document must be a mapping of fields, not %s", describe(root))
		return false
	}
	return true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// scannerLine is the line that the YAML module puts before a message.
var scannerLine = regexp.MustCompile(`^line (\d+): `)

// syntaxMistake reports that the text is no YAML. The module reports text only, with
// a line that is right for the errors of its scanner alone; for the others (whose
// line is that of the surrounding block, or missing) the line is the last one of
// the shortest beginning of the text that fails in the same way.
func syntaxMistake(r *Report, text []byte, err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := scannerLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits, by the expression
		message = message[len(m[0]):]
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	if line == 0 || strings.HasPrefix(message, "did not find expected") {
		line = 1 + sort.Search(len(lines)-1, func(i int) bool {
			return failsWith(bytes.Join(lines[:i+1], nil), message)
		})
	}
	line = min(max(line, 1), len(lines))
	content := lines[line-1]
	column := 1 + len(content) - len(bytes.TrimLeft(content, " \t"))
	hint := ""
	if indent := content[:column-1]; bytes.ContainsRune(indent, '\t') {
		hint = "YAML indents with spaces, not tabs"
	}
	r.add(place{line, column}, "", hint, "this is not valid YAML: %s", message)
}

func failsWith(text []byte, message string) bool {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		switch err := dec.Decode(new(yaml.Node)); {
		case errors.Is(err, io.EOF):
			return false
		case err != nil:
			return strings.HasSuffix(err.Error(), message)
		}
	}
}

// describe says what a node is, for "want …, not …". Long strings are cut.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + shorten(n.Value)
	case "!!str":
		return "the string " + quote(n.Value)
	}
	return shorten(n.Value)
}

// maxQuoted is how many bytes of a value a mistake repeats.
const maxQuoted = 60

func quote(s string) string { return strconv.Quote(shorten(s)) }

func shorten(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "…"
}
