package httpcache

import (
	"net/http"
	"testing"
	"time"
)

// RFC 9110 §5.6.7 has three formats; RFC 9111 §4.2 wants case ignored and zones
// other than GMT refused.
func TestParseDate(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun Nov 06 08:49:37 1994",
		"sun, 06 nov 1994 08:49:37 gmt", "SUNDAY, 06-NOV-94 08:49:37 Gmt", "SUN NOV  6 08:49:37 1994",
		"Mon, 06 Nov 1994 08:49:37 GMT", // the day of the week is not checked
	} {
		if got, ok := ParseDate(s, start); !ok || !got.Equal(want) {
			t.Errorf("%q = %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "0", "-1", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 EST",
		"Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT",
		"Sun 06 Nov 1994 08:49:37 GMT", "Sun, 06  Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 08.49.37 GMT",
		"Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 31 Feb 1994 08:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT", "Xxx, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Xxx 1994 08:49:37 GMT", "Sunday, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:3\u0666GMT",
		" Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov -994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37.5 GM",
	} {
		if got, ok := ParseDate(s, start); ok {
			t.Errorf("%q is taken as %v", s, got)
		}
	}
	if got, ok := ParseDate("Sat, 31 Dec 2016 23:59:60 GMT", start); !ok || !got.Equal(time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("leap second: %v, %v", got, ok)
	}
}

// RFC 9110 §5.6.7: a two-digit year "that appears to be more than 50 years in the
// future" is "the most recent year in the past that had the same last two digits".
func TestTwoDigitYears(t *testing.T) {
	for _, tc := range []struct {
		now  int
		year string
		want int
	}{{2026, "94", 1994}, {2026, "26", 2026}, {2026, "76", 2076}, {2026, "77", 1977}, {2099, "00", 2000}, {1999, "00", 1900}, {2049, "99", 2099}, {2050, "00", 2000}} {
		got, ok := ParseDate("Sunday, 06-Nov-"+tc.year+" 08:49:37 GMT", time.Date(tc.now, 6, 1, 0, 0, 0, 0, time.UTC))
		if !ok || got.Year() != tc.want {
			t.Errorf("in %d, %q is %d, want %d", tc.now, tc.year, got.Year(), tc.want)
		}
	}
}

func TestInitialAge(t *testing.T) {
	for _, tc := range []struct {
		name  string
		delay int // seconds from request to response
		lines []string
		want  int
	}{
		{"nothing known", 0, nil, 0},
		{"§4.2.3: corrected_age_value = age_value + response_delay", 3, []string{"Age: 10"}, 13},
		{"§4.2.3: apparent_age", 0, []string{"Date: " + stamp(-20)}, 20},
		{"§4.2.3: the larger of the two", 1, []string{"Date: " + stamp(-20), "Age: 30"}, 31},
		{"§4.2.3: max(0, response_time - date_value)", 0, []string{"Date: " + stamp(100)}, 0},
		{"a Date that cannot be read", 0, []string{"Date: yesterday"}, 0},
		{"§5.1: the first member of a list", 0, []string{"Age: 7,900"}, 7},
		{"§5.1: the first of several lines", 0, []string{"Age: 7", "Age: 900"}, 7},
		{"§5.1: an invalid one is ignored", 2, []string{"Age: -900"}, 2},
		{"§5.1: no number", 0, []string{"Age: abc"}, 0},
		{"§5.1: a fraction", 0, []string{"Age: 900.0"}, 0},
		{"§5.1: a parameter", 0, []string{"Age: 900;a=b"}, 0},
		{"§5.1: a first member that is invalid", 0, []string{"Age: x, 900"}, 0},
		{"§1.2.2: too large", 0, []string{"Age: 99999999999999999999999"}, MaxDelta},
		{"the response is older than time itself", 0, []string{"Date: Mon, 01 Jan 0001 00:00:00 GMT"}, MaxDelta},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := initialAge(fields(t, tc.lines...), start.Add(-seconds(tc.delay)), start); got != seconds(tc.want) {
				t.Errorf("got %v, want %v", got, seconds(tc.want))
			}
		})
	}
	if got := initialAge(fields(t, "Age: 5"), after(60), start); got != seconds(5) {
		t.Errorf("a clock that ran backwards makes the age %v, want 5s", got)
	}
}

// FuzzDate: what is read as a date by us is one by the standard library too, and is
// the same; ages and lifetimes stay in bounds.
func FuzzDate(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "5")
	f.Add("Sun Nov  6 08:49:37 1994", "0", "5, 6")
	f.Add("Sat, 31 Dec 2016 23:59:60 GMT", "", "-1")
	f.Fuzz(func(t *testing.T, date, expires, age string) {
		got, ok := ParseDate(date, start)
		if std, err := http.ParseTime(date); ok && err == nil && got.Year() == std.Year() && !got.Equal(std) {
			t.Fatalf("%q: %v, the standard library says %v", date, got, std)
		} else if ok && err != nil && got.Second() != 0 { // but for leap seconds and case
			if again, err := http.ParseTime(got.Format(http.TimeFormat)); err != nil || !again.Equal(got) {
				t.Fatalf("%q: %v", date, got)
			}
		}
		h := fields(t)
		if h.Add("Date", date) != nil || h.Add("Expires", expires) != nil || h.Add("Age", age) != nil {
			return
		}
		f, _ := Assess(Request{"GET", fields(t)}, Response{200, h, start.Add(-time.Second), start}, &Policy{})
		if f.InitialAge < 0 || f.InitialAge > maxSpan || f.Lifetime < 0 || f.Lifetime > maxSpan {
			t.Fatalf("out of bounds: %+v", f)
		}
		for _, now := range []time.Time{{}, start, after(MaxDelta), time.Unix(1<<40, 0)} {
			if a := f.Age(now); a < 0 || a > 2*maxSpan {
				t.Fatalf("age %v at %v", a, now)
			}
		}
	})
}
