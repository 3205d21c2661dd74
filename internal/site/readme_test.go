package site

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeExamples reads the parts of site documents that the README shows.
func TestReadmeExamples(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for block := range strings.SplitSeq(string(readme), "\n\n") {
		if !strings.HasPrefix(block, "    origin:") {
			continue
		}
		found++
		if _, err := Parse("README.md", []byte("site: s\nhosts: [s.example]\n"+strings.ReplaceAll("\n"+block, "\n    ", "\n")+"\n")); err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
	}
	if found == 0 {
		t.Error("no example of an origin")
	}
}
