package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// SitesPrefix is the prefix of the site documents.
const SitesPrefix = "sites"

// SitesCurrent is the prefix of the newest versions of the site documents. No key below it
// is ever removed: see Documents.
const SitesCurrent = SitesPrefix + "/" + current

// current is where, below the prefix of documents, the current versions stand.
const current = "current"

// Limits of documents.
const (
	MaxText    = 256 << 10 // bytes of a document's text
	MaxHistory = 100       // versions of a document that are kept, the current one among them

	maxNote = 1 << 10 // bytes of an author, and of a message
)

// AnyVersion expects nothing of a document's version.
const AnyVersion = -1

// maxRaces is how often a write without an expectation starts over because another
// writer was faster.
const maxRaces = 100

// Document is one version of a text.
type Document struct {
	Name    string    `json:"name"`
	Version int       `json:"version"` // 1, 2, … over the whole life of the name, deletions included
	Text    []byte    `json:"text"`
	Author  string    `json:"author"`
	Message string    `json:"message"`
	At      time.Time `json:"at"` // when it was written, by the writer's clock, in UTC
}

// AllDocuments is the current version of every document, sorted by name.
type AllDocuments struct {
	Version uint64 // differs whenever List does; only equality means anything
	List    []Document
	Damaged []string // names whose record cannot be read; normally none
}

// Documents are texts under version control on a KV. Every write makes a new
// version; the last MaxHistory of them stay readable. Names are those of CheckName.
//
// The current version stands under <prefix>/current/<name>, those before it under
// <prefix>/history/<name>/<version>. A writer first copies the current version into
// history, where it may already be, then replaces it by compare-and-set: whoever
// dies in between, or loses, has changed nothing that can be seen. A deleted
// document leaves a record without text behind, so that versions are never given
// out twice.
type Documents struct {
	kv     KV
	prefix string
}

// NewDocuments are the documents under prefix; those under another are other ones.
func NewDocuments(kv KV, prefix string) *Documents {
	return &Documents{kv: kv, prefix: prefix}
}

// Put writes a new version if the current one is expect: AnyVersion, or 0 if there
// must be no such document. ErrConflict, ErrTooLarge, ErrInvalid; after any other
// error the version may or may not have been written.
func (d *Documents) Put(ctx context.Context, name string, text []byte, author, message string, expect int) (Document, error) {
	if len(text) > MaxText {
		return Document{}, fmt.Errorf("put document %s: %d bytes: %w: at most %d", name, len(text), ErrTooLarge, MaxText)
	}
	if len(author) > maxNote || len(message) > maxNote {
		return Document{}, fmt.Errorf("put document %s: author or message: %w: at most %d bytes each", name, ErrTooLarge, maxNote)
	}
	doc := Document{Name: name, Text: text, Author: author, Message: message}
	doc, err := d.replace(ctx, doc, false, expect)
	if err != nil {
		return Document{}, fmt.Errorf("put document %s: %w", name, err)
	}
	return doc, nil
}

// Delete removes a document if its current version is expect (or AnyVersion). Its
// versions stay readable by GetVersion. ErrNotFound, ErrConflict.
func (d *Documents) Delete(ctx context.Context, name string, expect int) error {
	if _, err := d.replace(ctx, Document{Name: name}, true, expect); err != nil {
		return fmt.Errorf("delete document %s: %w", name, err)
	}
	return nil
}

// replace makes doc the current version.
func (d *Documents) replace(ctx context.Context, doc Document, remove bool, expect int) (Document, error) {
	if err := CheckName(doc.Name); err != nil {
		return Document{}, err
	}
	for range maxRaces {
		now, pair, err := d.current(ctx, doc.Name)
		if err != nil {
			return Document{}, err
		}
		switch {
		case remove && now.absent():
			return Document{}, ErrNotFound
		case expect != AnyVersion && now.visible() != expect:
			return Document{}, fmt.Errorf("it is at version %d, not %d: %w", now.visible(), expect, ErrConflict)
		}
		doc.Version, doc.At = now.Version+1, time.Now().UTC()
		if err := d.archive(ctx, now, pair, doc.Version); err != nil {
			return Document{}, err
		}
		_, err = d.kv.Put(ctx, d.currentKey(doc.Name), record{Document: doc, Deleted: remove}.encode(), pair.Version)
		if err == nil {
			return doc, nil
		}
		if !errors.Is(err, ErrConflict) || expect != AnyVersion {
			return Document{}, err
		}
	}
	return Document{}, fmt.Errorf("%d writers were faster: %w", maxRaces, ErrConflict)
}

// archive copies the current version into history and drops the version that next
// pushes out. Dropping before next is written makes sure that no crash leaves one
// behind; it costs nothing if next is then not written but one old version.
func (d *Documents) archive(ctx context.Context, now record, pair Pair, next int) error {
	if now.Version == 0 {
		return nil
	}
	if _, err := d.kv.Put(ctx, d.historyKey(now.Name, now.Version), pair.Value, Any); err != nil {
		return err
	}
	if old := next - MaxHistory; old > 0 {
		return d.kv.Delete(ctx, d.historyKey(now.Name, old), Any)
	}
	return nil
}

// Get reads the current version. ErrNotFound.
func (d *Documents) Get(ctx context.Context, name string) (Document, error) {
	now, _, err := d.current(ctx, name)
	if err == nil && now.absent() {
		err = ErrNotFound
	}
	if err != nil {
		return Document{}, fmt.Errorf("get document %s: %w", name, err)
	}
	return now.Document, nil
}

// GetVersion reads one version, also of a deleted document. ErrNotFound if there
// never was one or it is no longer kept.
func (d *Documents) GetVersion(ctx context.Context, name string, version int) (Document, error) {
	doc, err := d.version(ctx, name, version)
	if err != nil {
		return Document{}, fmt.Errorf("get document %s, version %d: %w", name, version, err)
	}
	return doc, nil
}

func (d *Documents) version(ctx context.Context, name string, version int) (Document, error) {
	now, _, err := d.current(ctx, name)
	if err != nil {
		return Document{}, err
	}
	r := now
	if version != now.Version {
		if version < 1 || !now.keeps(version) {
			return Document{}, ErrNotFound
		}
		pair, err := d.kv.Get(ctx, d.historyKey(name, version))
		if err != nil {
			return Document{}, err
		}
		if r, err = decode(pair, name); err != nil {
			return Document{}, err
		}
	}
	if r.absent() {
		return Document{}, ErrNotFound
	}
	return r.Document, nil
}

// History reads all versions that are kept, newest first. ErrNotFound if there never
// was such a document.
func (d *Documents) History(ctx context.Context, name string) ([]Document, error) {
	docs, err := d.history(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("history of document %s: %w", name, err)
	}
	return docs, nil
}

func (d *Documents) history(ctx context.Context, name string) ([]Document, error) {
	now, _, err := d.current(ctx, name)
	if err != nil {
		return nil, err
	}
	if now.Version == 0 {
		return nil, ErrNotFound
	}
	pairs, err := d.kv.List(ctx, d.prefix+"/history/"+name, 0)
	if err != nil {
		return nil, err
	}
	docs := make([]Document, 0, len(pairs.List)+1)
	if !now.Deleted {
		docs = append(docs, now.Document)
	}
	for _, pair := range slices.Backward(pairs.List) {
		r, err := decode(pair, name)
		if err != nil {
			return nil, err
		}
		// History may run ahead of the current version that was read before it, and
		// hold the current one.
		if !r.Deleted && now.keeps(r.Version) {
			docs = append(docs, r.Document)
		}
	}
	return docs, nil
}

// All blocks until the documents have a version other than after (0: returns at
// once) and returns the current version of each.
func (d *Documents) All(ctx context.Context, after uint64) (AllDocuments, error) {
	under := d.prefix + "/" + current
	pairs, err := d.kv.List(ctx, under, after)
	if err != nil {
		return AllDocuments{}, fmt.Errorf("list documents: %w", err)
	}
	all := AllDocuments{Version: pairs.Version}
	for _, pair := range pairs.List {
		name := strings.TrimPrefix(pair.Key, under+"/")
		switch r, err := decode(pair, name); {
		case err != nil:
			all.Damaged = append(all.Damaged, name)
		case !r.Deleted:
			all.List = append(all.List, r.Document)
		}
	}
	return all, nil
}

// current reads what stands under a name; a zero record and pair if there never was
// anything, as compare-and-set wants it.
func (d *Documents) current(ctx context.Context, name string) (record, Pair, error) {
	if err := CheckName(name); err != nil {
		return record{}, Pair{}, err
	}
	pair, err := d.kv.Get(ctx, d.currentKey(name))
	if errors.Is(err, ErrNotFound) {
		return record{}, Pair{}, nil
	}
	if err != nil {
		return record{}, Pair{}, err
	}
	r, err := decode(pair, name)
	return r, pair, err
}

func (d *Documents) currentKey(name string) string { return d.prefix + "/" + current + "/" + name }

// historyKey sorts by version.
func (d *Documents) historyKey(name string, version int) string {
	return fmt.Sprintf("%s/history/%s/%010d", d.prefix, name, version)
}

// record is a version as it is stored: JSON, with the text in base64 as []byte has
// it there, so that any bytes come back as they were.
type record struct {
	Document
	Deleted bool `json:"deleted,omitempty"`
}

func (r record) absent() bool { return r.Version == 0 || r.Deleted }

// visible is the version that a caller sees, 0 for none.
func (r record) visible() int {
	if r.absent() {
		return 0
	}
	return r.Version
}

// keeps reports whether a version before r, the current one, is still kept.
func (r record) keeps(version int) bool {
	return version < r.Version && version > r.Version-MaxHistory
}

func (r record) encode() []byte {
	// Nothing in a record can fail to be encoded.
	text, _ := json.Marshal(r)
	return text
}

// decode reads a stored record, which must be of the document name.
func decode(pair Pair, name string) (record, error) {
	var r record
	if err := json.Unmarshal(pair.Value, &r); err != nil {
		return record{}, fmt.Errorf("stored record %s is damaged: %w", pair.Key, err)
	}
	if r.Name != name || r.Version < 1 {
		return record{}, fmt.Errorf("stored record %s is damaged: it is version %d of %q", pair.Key, r.Version, r.Name)
	}
	return r, nil
}
