package httpcache

import (
	"strings"

	"freshet/internal/header"
)

// Bounds of the surrogate keys of one response.
const (
	MaxTags      = 64
	MaxTagLength = 1 << 10 // bytes of one
)

// TagFields are the fields by which an origin names the surrogate keys of a response, and
// which are not for clients: in Surrogate-Key they stand between spaces, in Cache-Tag
// between commas, in xkey between either.
var TagFields = []string{"Surrogate-Key", "Cache-Tag", "xkey"}

// tagSeparators are those of TagFields.
var tagSeparators = [...]string{" \t", ",", ", \t"}

// Tags are the surrogate keys of a response, each once, as they are spelled. all: there
// are more, or longer ones, than the bounds allow; then the response has to be taken for
// one that bears every key.
func Tags(response *header.Block) (tags []string, all bool) {
	for i, name := range TagFields {
		for value := range response.Values(name) {
			for value != "" {
				tag := value
				if end := strings.IndexAny(value, tagSeparators[i]); end >= 0 {
					tag, value = value[:end], value[end+1:]
				} else {
					value = ""
				}
				tag = strings.Trim(tag, " \t")
				switch {
				case tag == "" || contains(tags, tag):
				case len(tags) == MaxTags || len(tag) > MaxTagLength:
					return tags, true
				default:
					tags = append(tags, tag)
				}
			}
		}
	}
	return tags, false
}
