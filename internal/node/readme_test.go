package node

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeExamples reads the parts of node files that the README shows.
func TestReadmeExamples(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for block := range strings.SplitSeq(string(readme), "\n\n") {
		if !strings.HasPrefix(block, "    cache:") && !strings.HasPrefix(block, "    listen:") {
			continue
		}
		found++
		text := "role: edge\nname: e\nadvertise: ['192.0.2.1:80']\nbus: {address: 'nats://b:1'}\ncluster: {kind: consul, secret: {env: SECRET}}\n" +
			strings.ReplaceAll(block, "\n    ", "\n")[len("    "):] + "\n"
		if !strings.Contains(text, "\nlisten:") {
			text += "listen: [':80']\n"
		}
		if _, err := Read("README.md", []byte(text), lookup); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if found < 2 {
		t.Errorf("%d examples, want those of the cache and of the listeners", found)
	}
}
