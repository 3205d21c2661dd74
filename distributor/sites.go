package distributor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/site"
)

// catchUp bounds how long a change of a site waits for this distributor's own
// snapshot.
const catchUp = 2 * time.Second

// defaultFile names a document whose file the caller does not name.
const defaultFile = "document"

// Conditions are the precondition fields of a write (RFC 9110 §13.1); a version's
// entity tag is its number. The type is exported because huma fills no embedded struct
// that is not.
type Conditions struct {
	IfMatch     string `header:"If-Match" maxLength:"30" doc:"The version, in double quotes, that must be there."`
	IfNoneMatch string `header:"If-None-Match" maxLength:"30" doc:"*: there must be no such site."`
}

// expect is the version as cluster.Documents expects it.
func (c Conditions) expect() (int, error) {
	switch {
	case c.IfMatch == "" && c.IfNoneMatch == "":
		return cluster.AnyVersion, nil
	case c.IfMatch == "" && c.IfNoneMatch == "*":
		return 0, nil
	case c.IfNoneMatch == "":
		text, ok := strings.CutPrefix(c.IfMatch, `"`)
		text, ok2 := strings.CutSuffix(text, `"`)
		if n, err := strconv.Atoi(text); ok && ok2 && err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, huma.Error422UnprocessableEntity(`either If-Match with one version, such as "3", or If-None-Match: *`)
}

type applyInput struct {
	Conditions
	By      string `header:"Freshet-By" maxLength:"256" doc:"Who stores it, for the history."`
	File    string `query:"file" maxLength:"500" doc:"What mistakes are said to be in."`
	Message string `query:"message" maxLength:"1000" doc:"Why, for the history."`
	RawBody []byte `contentType:"application/yaml"`
}

type siteOutput struct {
	ETag string `header:"ETag" doc:"The version in double quotes."`
	Body client.Site
}

type sitesOutput struct {
	Body client.Sites
}

// applySite validates and stores a document.
func (d *Distributor) applySite(ctx context.Context, in *applyInput) (*siteOutput, error) {
	if d.writer.Load() == nil {
		return nil, d.standby(ctx)
	}
	expect, err := in.expect()
	if err != nil {
		return nil, err
	}
	file := in.File
	if file == "" {
		file = defaultFile
	}
	doc, err := site.Parse(file, in.RawBody)
	if err != nil {
		return nil, answer(err)
	}
	stored, before, err := d.store(ctx, doc, in, expect)
	if err != nil {
		return nil, answer(err)
	}
	d.log.Info("site stored", "site", doc.Site, "version", stored.Version, "by", in.By)
	d.catchUp(ctx, doc.Site, doc)
	if before != nil && site.Rekeyed(before, doc) {
		if err := d.purgeSite(doc.Site, in.By); err != nil {
			return nil, answer(err)
		}
	}
	out := newSiteOutput(stored)
	describe(&out.Body, doc)
	return out, nil
}

// purgeSite appends the purge of all of a site whose document has changed so that
// what is stored may no longer be what it would get.
func (d *Distributor) purgeSite(name, by string) error {
	w := d.writer.Load()
	if w == nil {
		return fmt.Errorf("the document of site %s is stored, but its purge is not given, as another distributor leads now: run 'freshet purge --site %s'", name, name)
	}
	_, err := w.append(command.Command{
		Version: command.Version, ID: command.NewID(), Kind: command.Purge, At: time.Now().UTC(), By: by,
		Scopes: []command.Scope{{Kind: command.ScopeSite, Site: name}},
	})
	if err != nil {
		return fmt.Errorf("the document of site %s is stored, but its purge is not in the log; run 'freshet purge --site %s': %w", name, name, err)
	}
	d.metrics.commands.WithLabelValues(string(command.Purge)).Inc()
	return nil
}

// store makes a document that is valid in itself the newest version of its site, if
// it goes together with all others. before is what it takes the place of, nil if
// there was none.
func (d *Distributor) store(ctx context.Context, doc *site.Document, in *applyInput, expect int) (stored cluster.Document, before *site.Document, err error) {
	d.siteTurn.Lock()
	defer d.siteTurn.Unlock()
	all, err := d.docs.All(ctx, 0)
	if err != nil {
		return cluster.Document{}, nil, err
	}
	sites := d.parsed(all)
	if err := conflicts(doc, sites); err != nil {
		return cluster.Document{}, nil, err
	}
	// The body's memory goes back to a pool after this request.
	stored, err = d.docs.Put(ctx, doc.Site, bytes.Clone(in.RawBody), in.By, in.Message, expect)
	return stored, sites.ByName(doc.Site), err
}

// parsed is the snapshot of the stored documents, without those that do not parse:
// they are not served either.
func (d *Distributor) parsed(all cluster.AllDocuments) *site.Snapshot {
	if snap := d.sites.snapshot.Load(); snap != nil && snap.Version() == all.Version {
		return snap
	}
	docs := make([]*site.Document, 0, len(all.List))
	for _, stored := range all.List {
		if doc, err := site.Parse(stored.Name, stored.Text); err == nil {
			docs = append(docs, doc)
		}
	}
	return site.NewSnapshot(all.Version, docs)
}

// conflicts holds a new document against all other sites.
func conflicts(doc *site.Document, snap *site.Snapshot) error {
	var details []error
	for _, other := range snap.Sites() {
		if other.Site == doc.Site {
			continue
		}
		if err := site.Conflicts([]*site.Document{doc, other}); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				details = append(details, &huma.ErrorDetail{Message: line})
			}
		}
	}
	if len(details) > 0 {
		return huma.Error409Conflict(fmt.Sprintf("site %s claims hosts of other sites; take them out of one or the other", doc.Site), details...)
	}
	return nil
}

// catchUp waits for this distributor to see a change that it made (nil: a deletion),
// so that the caller's next request meets it.
func (d *Distributor) catchUp(ctx context.Context, name string, doc *site.Document) {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	d.sites.await(ctx, name, doc)
}

type deleteInput struct {
	Conditions
	Name string `path:"name" maxLength:"63"`
	By   string `header:"Freshet-By" maxLength:"256" doc:"Who deletes it."`
}

// deleteSite takes a site out of service. Its history stays.
func (d *Distributor) deleteSite(ctx context.Context, in *deleteInput) (*struct{}, error) {
	if d.writer.Load() == nil {
		return nil, d.standby(ctx)
	}
	expect, err := in.expect()
	if err != nil {
		return nil, err
	}
	err = d.docs.Delete(ctx, in.Name, expect)
	if errors.Is(err, cluster.ErrNotFound) && d.restoreSite(ctx, in.Name) == nil {
		// The nodes serve it, though the store has lost it: only a record says that it is to go.
		err = d.docs.Delete(ctx, in.Name, cluster.AnyVersion)
	}
	if err != nil {
		return nil, siteAnswer(err, in.Name, 0)
	}
	d.log.Info("site deleted", "site", in.Name, "by", in.By)
	d.catchUp(ctx, in.Name, nil)
	if err := d.purgeSite(in.Name, in.By); err != nil {
		return nil, answer(err)
	}
	return nil, nil
}

// listSites lists the newest version of every site.
func (d *Distributor) listSites(ctx context.Context, _ *struct{}) (*sitesOutput, error) {
	all, err := d.docs.All(ctx, 0)
	if err != nil {
		return nil, answer(err)
	}
	snap := d.parsed(all)
	out := newSitesOutput(all.List)
	for i := range out.Body.Sites {
		describe(&out.Body.Sites[i], snap.ByName(out.Body.Sites[i].Name))
	}
	return out, nil
}

type getSiteInput struct {
	Name    string `path:"name" maxLength:"63"`
	Version int    `query:"version" minimum:"1" doc:"An older version; the newest without it."`
}

func (d *Distributor) getSite(ctx context.Context, in *getSiteInput) (*siteOutput, error) {
	var doc cluster.Document
	var err error
	if in.Version == 0 {
		doc, err = d.docs.Get(ctx, in.Name)
	} else {
		doc, err = d.docs.GetVersion(ctx, in.Name, in.Version)
	}
	if err != nil {
		return nil, siteAnswer(err, in.Name, in.Version)
	}
	out := newSiteOutput(doc)
	// A document that an older version of this program wrote may not parse any more.
	if parsed, err := site.Parse(doc.Name, doc.Text); err == nil {
		describe(&out.Body, parsed)
	}
	return out, nil
}

type historyInput struct {
	Name string `path:"name" maxLength:"63"`
}

func (d *Distributor) siteHistory(ctx context.Context, in *historyInput) (*sitesOutput, error) {
	docs, err := d.docs.History(ctx, in.Name)
	if err != nil {
		return nil, siteAnswer(err, in.Name, 0)
	}
	return newSitesOutput(docs), nil
}

// siteAnswer is answer, in a caller's words where there is no such site or version.
func siteAnswer(err error, name string, version int) error {
	switch {
	case !errors.Is(err, cluster.ErrNotFound):
		return answer(err)
	case version != 0:
		return huma.Error404NotFound(fmt.Sprintf("site %q has no version %d, or it is no longer kept; see its history", name, version))
	}
	return huma.Error404NotFound(fmt.Sprintf("unknown site %q; 'freshet site list' names all", name))
}

func newSiteOutput(doc cluster.Document) *siteOutput {
	s := siteOf(doc)
	s.Text = string(doc.Text)
	return &siteOutput{ETag: fmt.Sprintf("%q", strconv.Itoa(doc.Version)), Body: s}
}

func newSitesOutput(docs []cluster.Document) *sitesOutput {
	out := &sitesOutput{Body: client.Sites{Sites: make([]client.Site, len(docs))}}
	for i, doc := range docs {
		out.Body.Sites[i] = siteOf(doc)
	}
	return out
}

// siteOf is what is known of a stored document without parsing it, less its text.
func siteOf(doc cluster.Document) client.Site {
	return client.Site{Name: doc.Name, Version: doc.Version, Author: doc.Author, Message: doc.Message, At: doc.At}
}

// describe adds what stands in the document; nil adds nothing.
func describe(s *client.Site, doc *site.Document) {
	if doc != nil {
		s.Hosts, s.Origin = doc.Hosts, doc.Origin.String()
	}
}
