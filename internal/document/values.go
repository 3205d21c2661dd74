package document

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as "10s", "5m", "1h30m" or "7d". It is never
// negative.
type Duration time.Duration

// Size is a number of bytes written as "512", "64KiB", "256MiB" or "1.5GiB" (also
// kB, MB, GB in powers of 1000).
type Size int64

// What a document may have for them: the expressions are in the schema, too.
const (
	durationPattern = `^([0-9]+(\.[0-9]+)?(d|h|m|s|ms|us|µs|ns))+$`
	sizePattern     = `^[0-9]+(\.[0-9]+)?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$`
)

var (
	durationForm = regexp.MustCompile(durationPattern)
	durationPart = regexp.MustCompile(`([0-9.]+)([^0-9.]+)`)
	sizeForm     = regexp.MustCompile(sizePattern)
)

var (
	errDuration = errors.New(`not a duration such as "10s", "5m", "1h30m" or "7d"`)
	errSize     = errors.New(`not a size such as "512", "64KiB", "256MiB" or "1.5GB"`)
	errTooMuch  = errors.New("too large")
)

const day = 24 * time.Hour

// ParseDuration reads a duration as a document has it.
func ParseDuration(text string) (Duration, error) {
	if !durationForm.MatchString(text) {
		return 0, errDuration
	}
	var sum time.Duration
	for _, part := range durationPart.FindAllStringSubmatch(text, -1) {
		number, unit, factor := part[1], part[2], int64(1)
		if unit == "d" {
			unit, factor = "h", 24
		}
		d, err := time.ParseDuration(number + unit)
		if err != nil || int64(d) > (math.MaxInt64-int64(sum))/factor {
			return 0, errTooMuch
		}
		sum += d * time.Duration(factor)
	}
	return Duration(sum), nil
}

// String writes the duration as a document has it: "7d", "1h30m", "0s".
func (d Duration) String() string {
	t := time.Duration(d)
	if t >= day && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes it as String does, in YAML and JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// sizeUnits are the units of a Size, largest first within each kind.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a size as a document has it; fractions of a byte are dropped.
func ParseSize(text string) (Size, error) {
	if !sizeForm.MatchString(text) {
		return 0, errSize
	}
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
			break
		}
	}
	if !strings.Contains(number, ".") {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > math.MaxInt64/unit {
			return 0, errTooMuch
		}
		return Size(n * unit), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f*float64(unit) >= math.MaxInt64 {
		return 0, errTooMuch
	}
	return Size(f * float64(unit)), nil
}

// String writes the size as a document has it, in the largest unit of 1024 that
// gives a whole number: "256MiB", "1000".
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes it as String does, in YAML and JSON.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSize reads.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}
