package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

var here = Place{Cache: 0x1234567890abcdef, Segment: 7}

// full is a response in which no field has its zero value, each another value.
func full(t testing.TB) *response.Response {
	t.Helper()
	r := new(response.Response)
	fill(t, reflect.ValueOf(r).Elem(), new(int))
	r.Key = response.NewKey("site\nexample.org/path?q=1")
	r.Kind, r.Status, r.Source = response.Sliced, 203, httpcache.FromHeuristic
	r.Header = new(header.Block)
	for _, f := range [][2]string{{"Content-Type", "text/html; charset=utf-8"}, {"x-EMPTY", ""}, {"Set-Thing", "a: b"}} {
		if err := r.Header.Add(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	r.Body, r.Pieces, r.Transient = response.Memory("the body"), nil, false
	r.RaiseAsOf(1<<40 + 3)
	r.RaiseTouches(99)
	return r
}

// fill sets every exported field below v that it knows a value for, and fails on a type
// that it does not know: then the codec does not know it either.
func fill(t testing.TB, v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+int64(*n), int64(*n))))
		return
	case *header.Block, response.Body, []response.Piece:
		return // full sets them
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i), n)
			}
		}
	case reflect.String:
		v.SetString(strings.Repeat("s", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) << 33)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(t, v.Index(i), n)
		}
	case reflect.Interface: // Body, set by full
	default:
		t.Fatalf("no value for a field of type %s", v.Type())
	}
}

// unset lists the exported fields below v that have their zero value.
func unset(v reflect.Value, name string) (names []string) {
	if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				names = append(names, unset(v.Field(i), name+"."+f.Name)...)
			}
		}
		return names
	}
	if v.IsZero() {
		names = append(names, name)
	}
	return names
}

// differences lists the exported fields in which a and b differ.
func differences(a, b reflect.Value, name string) (names []string) {
	if a.Type() == reflect.TypeFor[time.Time]() {
		if x, y := a.Interface().(time.Time), b.Interface().(time.Time); !x.Equal(y) || x.IsZero() != y.IsZero() {
			names = append(names, name)
		}
		return names
	}
	if a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			if f := a.Type().Field(i); f.IsExported() {
				names = append(names, differences(a.Field(i), b.Field(i), name+"."+f.Name)...)
			}
		}
		return names
	}
	if x, ok := a.Interface().(*header.Block); ok && x != nil {
		if y := b.Interface().(*header.Block); y == nil || !bytes.Equal(x.Wire(), y.Wire()) || x.Len() != y.Len() {
			names = append(names, name)
		}
		return names
	}
	if !reflect.DeepEqual(a.Interface(), b.Interface()) {
		names = append(names, name)
	}
	return names
}

// roundTrip is r as it comes back from disk, with its body.
func roundTrip(t testing.TB, r *response.Response) *response.Response {
	t.Helper()
	var body []byte
	if r.Body != nil {
		body = r.Body.Bytes()
	}
	b, err := Append([]byte("before"), here, 42, r, int64(len(body)), Sum(body))
	if err != nil {
		t.Fatal(err)
	}
	b = b[len("before"):]
	p, err := ParsePrefix(b, here)
	if err != nil {
		t.Fatal(err)
	}
	head := b[PrefixSize:]
	if len(head) != p.HeadLen || p.BodyOffset() != int64(len(b)) {
		t.Fatalf("head of %d bytes, the prefix says %d", len(head), p.HeadLen)
	}
	if p.Put != 42 || p.Type != Stored || p.Sum != r.Key.Sum || string(p.KeyText(head)) != r.Key.Text {
		t.Errorf("prefix = %+v", p)
	}
	if err := p.CheckBody(body); err != nil {
		t.Error(err)
	}
	got, err := p.ParseHead(head)
	if err != nil {
		t.Fatal(err)
	}
	clear(b) // what was made of it must not change with it
	if p.HasBody {
		got.Body = response.Memory(body)
	}
	return got
}

// TestEveryFieldComesBack fails when response.Response has a field that the codec
// forgets: every exported one must be set here, and be the same after a round trip.
func TestEveryFieldComesBack(t *testing.T) {
	want := full(t)
	zero := unset(reflect.ValueOf(want).Elem(), "Response")
	if !reflect.DeepEqual(zero, []string{"Response.Pieces", "Response.Transient"}) {
		t.Fatalf("not set: %v; only what is never stored may be", zero)
	}
	got := roundTrip(t, want)
	if d := differences(reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem(), "Response"); d != nil {
		t.Errorf("these did not come back: %v\ngot  %+v\nwant %+v", d, got, want)
	}
	if got.AsOf() != want.AsOf() || got.Touches() != want.Touches() {
		t.Errorf("as of %d, touches %d; want %d, %d", got.AsOf(), got.Touches(), want.AsOf(), want.Touches())
	}
}

// TestResponseHasNoFieldsThatNoneKnows: what is not exported must be known here by name.
func TestResponseHasNoFieldsThatNoneKnows(t *testing.T) {
	var hidden []string
	for f := range reflect.TypeFor[response.Response]().Fields() {
		if !f.IsExported() {
			hidden = append(hidden, f.Name)
		}
	}
	if !reflect.DeepEqual(hidden, []string{"asOf", "soft", "touches"}) {
		t.Errorf("fields of a response that are not exported: %v", hidden)
	}
}

// TestASoftMarkIsFoundAgain: it is not written, but what was tested is taken for tested
// up to before the mark, so that whoever reads the record finds it anew.
func TestASoftMarkIsFoundAgain(t *testing.T) {
	r := full(t)
	r.Soften(hop.Soft{Seq: r.Born + 3, Since: 1000})
	r.RaiseAsOf(r.Born + 9)
	if got := roundTrip(t, r); got.AsOf() != r.Born+2 || got.Soft() != (hop.Soft{}) {
		t.Errorf("as of %v, soft mark %+v", got.AsOf(), got.Soft())
	}
}

// TestScopesOf16BytesAreRead: of the records of older versions the last half counts.
func TestScopesOf16BytesAreRead(t *testing.T) {
	r := full(t)
	r.Scopes = nil
	head, err := appendHead(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	key := len(r.Key.Text)
	flags := binary.LittleEndian.Uint16(head[key:]) &^ flagScope8
	binary.LittleEndian.PutUint16(head[key:], flags)
	binary.LittleEndian.PutUint32(head[key+4:], 2)
	at := len(head) - len(r.Header.Wire())
	head = slices.Insert(head, at, make([]byte, 32)...)
	binary.LittleEndian.PutUint64(head[at+8:], 5)
	binary.LittleEndian.PutUint64(head[at+24:], 6)
	got, err := parseHead(head, key)
	if err != nil || !slices.Equal(got.Scopes, []response.ScopeHash{5, 6}) || !bytes.Equal(got.Header.Wire(), r.Header.Wire()) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEmptyFieldsStayEmpty(t *testing.T) {
	empty := &response.Response{Key: response.NewKey("")}
	got := roundTrip(t, empty)
	if d := differences(reflect.ValueOf(empty).Elem(), reflect.ValueOf(got).Elem(), "Response"); d != nil {
		t.Errorf("%v came back as %+v", d, got)
	}
	if got.Received != (time.Time{}) || got.Header != nil || got.Body != nil {
		t.Error("what was not there has come to be")
	}
	got = roundTrip(t, &response.Response{Header: new(header.Block), Body: response.Memory{}})
	if got.Header == nil || got.Header.Len() != 0 || got.Body == nil || got.Body.Len() != 0 {
		t.Error("an empty header block or body is gone")
	}
}

// TestTimesOutsideOfNanosecondsComeBack: an origin may send any date.
func TestTimesOutsideOfNanosecondsComeBack(t *testing.T) {
	for _, at := range []time.Time{
		{}, time.Unix(0, 0), time.Unix(0, 999_999_999), time.Now(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
	} {
		r := &response.Response{Facts: httpcache.Facts{LastModified: at}}
		if got := roundTrip(t, r).LastModified; !got.Equal(at) || got.IsZero() != at.IsZero() {
			t.Errorf("%v came back as %v", at, got)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	long := strings.Repeat("x", math.MaxUint16+1)
	for name, c := range map[string]struct {
		change func(*response.Response)
		want   error
	}{
		"pieces":          {func(r *response.Response) { r.Pieces = []response.Piece{{}} }, ErrInvalid},
		"transient":       {func(r *response.Response) { r.Transient = true }, ErrInvalid},
		"kind":            {func(r *response.Response) { r.Kind = lastKind + 1 }, ErrInvalid},
		"status":          {func(r *response.Response) { r.Status = 1000 }, ErrInvalid},
		"negative status": {func(r *response.Response) { r.Status = -1 }, ErrInvalid},
		"complete":        {func(r *response.Response) { r.Complete = -1 }, ErrInvalid},
		"source":          {func(r *response.Response) { r.Source = 200 }, ErrInvalid},
		"other body":      {func(r *response.Response) { r.Body = response.Memory("x") }, ErrInvalid},
		"no body":         {func(r *response.Response) { r.Body = nil }, ErrInvalid},
		"key":             {func(r *response.Response) { r.Key.Text = strings.Repeat("x", MaxHead) }, ErrTooLarge},
		"etag":            {func(r *response.Response) { r.ETag = long }, ErrTooLarge},
		"vary":            {func(r *response.Response) { r.Vary = []string{long} }, ErrTooLarge},
		"scopes":          {func(r *response.Response) { r.Scopes = make([]response.ScopeHash, MaxHead/scopeSize) }, ErrTooLarge},
	} {
		r := full(t)
		c.change(r)
		b, err := Append([]byte("x"), here, 1, r, 8, 0)
		if !errors.Is(err, c.want) || string(b) != "x" {
			t.Errorf("%s: %d bytes, %v; want %v", name, len(b), err, c.want)
		}
	}
}

// TestEveryBitCounts: a record with any bit of it flipped is not believed.
func TestEveryBitCounts(t *testing.T) {
	body := []byte("the body")
	b, err := Append(nil, here, 42, full(t), int64(len(body)), Sum(body))
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, body...)
	if err := check(b); err != nil {
		t.Fatal(err)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if err := check(b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if err := check(b[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
}

// check reads a whole record without its padding.
func check(b []byte) error {
	p, err := ParsePrefix(b, here)
	if err != nil {
		return err
	}
	rest := b[PrefixSize:]
	n := min(p.HeadLen, len(rest))
	if _, err := p.ParseHead(rest[:n]); err != nil {
		return err
	}
	return p.CheckBody(rest[n:])
}

func TestARecordIsOfOnePlace(t *testing.T) {
	b, err := Append(nil, here, 42, full(t), 8, Sum([]byte("the body")))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []Place{{here.Cache, here.Segment + 1}, {here.Cache + 1, here.Segment}} {
		if _, err := ParsePrefix(b, at); !errors.Is(err, ErrDamaged) {
			t.Errorf("a record of %+v was taken for one of %+v: %v", here, at, err)
		}
	}
	Readdress(b, 8)
	p, err := ParsePrefix(b, Place{here.Cache, 8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.ParseHead(b[PrefixSize:]); err != nil || p.Put != 42 {
		t.Errorf("put %d, %v after it was given another segment", p.Put, err)
	}
}

func TestTombstone(t *testing.T) {
	sum := xxh3.Uint128{Hi: 1, Lo: 2}
	b := AppendTombstone([]byte("x"), here, 9, sum)[1:]
	p, err := ParsePrefix(b, here)
	if err != nil {
		t.Fatal(err)
	}
	if p.Type != Tombstone || p.Sum != sum || p.Put != 9 || p.Size() != PrefixSize || len(b) != PrefixSize {
		t.Errorf("tombstone = %+v, %d bytes", p, len(b))
	}
	if _, err := p.ParseHead(nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a tombstone gives a response: %v", err)
	}
	if err := errors.Join(p.CheckHead(nil), p.CheckBody(nil)); err != nil {
		t.Error(err)
	}
}

func TestRecordsEndAligned(t *testing.T) {
	for n := range int64(300) {
		total := PrefixSize + n + int64(len(Padding(PrefixSize+n)))
		if total%Align != 0 || total != Size(int(n), 0) || total != Size(0, n) {
			t.Errorf("%d bytes of head or body: %d with padding, Size %d", n, total, Size(int(n), 0))
		}
	}
}

func TestSumOfPartsIsTheSumOfTheWhole(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789"), 10_000)
	s := NewSum()
	for part := range 10 {
		if _, err := s.Write(b[part*10_000 : (part+1)*10_000]); err != nil {
			t.Fatal(err)
		}
	}
	if s.Sum64() != Sum(b) {
		t.Error("the sums differ")
	}
}
