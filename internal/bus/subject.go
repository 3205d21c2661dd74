package bus

import (
	"fmt"
	"strings"
)

// Limits of telemetry.
const (
	MaxMessage = 64 << 10 // bytes of one message
	MaxSubject = 200      // bytes of a subject
)

// CheckMessage refuses what Publish must not send: a subject that is not made of
// dot-separated words of lower-case letters, digits, dashes and underscores, or too
// much data.
func CheckMessage(subject string, data []byte) error {
	if err := checkWords(subject); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if len(data) > MaxMessage {
		return fmt.Errorf("publish %s: %d bytes, at most %d fit", subject, len(data), MaxMessage)
	}
	return nil
}

// CheckPattern refuses what Subscribe cannot listen to: a subject whose last word
// may be ">".
func CheckPattern(pattern string) error {
	if pattern == ">" {
		return nil
	}
	if err := checkWords(strings.TrimSuffix(pattern, ".>")); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// Match reports whether a subject lies under a pattern. ">" stands for one word
// or more.
func Match(pattern, subject string) bool {
	if pattern == ">" {
		return true
	}
	if prefix, ok := strings.CutSuffix(pattern, ">"); ok {
		return len(subject) > len(prefix) && strings.HasPrefix(subject, prefix)
	}
	return pattern == subject
}

func checkWords(subject string) error {
	if len(subject) > MaxSubject {
		return fmt.Errorf("subject of %d bytes, at most %d fit", len(subject), MaxSubject)
	}
	for word := range strings.SplitSeq(subject, ".") {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return fmt.Errorf("subject %q: words of lower-case letters, digits, dashes and underscores, separated by dots", subject)
		}
	}
	return nil
}
