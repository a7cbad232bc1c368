package web

import (
	"context"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/oldguard/oldguard/internal/explain"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// CountBody is how many machines share a value.
type CountBody struct {
	Value string `json:"value"`
	Hosts int    `json:"hosts"`
}

func countBodies(list []fleet.Count) []CountBody {
	out := make([]CountBody, 0, len(list))
	for _, c := range list {
		out = append(out, CountBody(c))
	}
	return out
}

// unseenAfter is when a machine counts as not seen.
const unseenAfter = 30 * 24 * time.Hour

// knowledge adds the operations about the fleet as a whole, and about what was published.
func (a *api) knowledge() {
	type explainIn struct {
		Build string `path:"build" maxLength:"200" doc:"6.0.6003.22015, 6003, 10.0.17763.8146"`
		Match string `header:"If-None-Match" maxLength:"100"`
	}
	type explainOut struct {
		ETag string `header:"ETag"`
		Body *explain.Answer
	}
	add(a, "GET", "/build/{build}", Open, "what a build of Windows is: oldguard/explanation/1, for programs that only want to know", func(_ context.Context, in *explainIn) (*explainOut, error) {
		ans, err := explain.Explain(in.Build, a.s.Fleet.InUse(), a.s.Now())
		var question *explain.QuestionError
		switch {
		case errors.As(err, &question):
			return nil, huma.Error422UnprocessableEntity(err.Error())
		case err != nil:
			return nil, err
		case ans.Kind != explain.KindBuild:
			return nil, huma.Error422UnprocessableEntity("that is no build but: " + string(ans.Kind))
		}
		out := &explainOut{bodyTag(ans), ans}
		if unchanged(in.Match, out.ETag) {
			return nil, huma.Status304NotModified()
		}
		return out, nil
	})
	type askIn struct {
		Question string `query:"q" required:"true" minLength:"1" maxLength:"512" doc:"an update, a vulnerability, a build, a release, an error code"`
	}
	add(a, "GET", "/explain", access.See, "what is known of an update, a vulnerability, a build, a release or an error: oldguard/explanation/1", func(_ context.Context, in *askIn) (*explainOut, error) {
		ans, err := explain.Explain(in.Question, a.s.Fleet.InUse(), a.s.Now())
		if _, ok := errors.AsType[*explain.QuestionError](err); ok {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
		return &explainOut{Body: ans}, err
	})
	type overviewOut struct {
		Body struct {
			Hosts       int            `json:"hosts"`
			Levels      map[string]int `json:"levels"`
			Support     map[string]int `json:"support"`
			Releases    []CountBody    `json:"releases"`
			Sites       []CountBody    `json:"sites"`
			Owners      []CountBody    `json:"owners"`
			Criticality map[string]int `json:"criticality"`
			Behind      []CountBody    `json:"months_behind"`
			Exploited   int            `json:"exploited"`
			Ransomware  int            `json:"ransomware"`
			Restart     int            `json:"restart_pending"`
			Unseen      int            `json:"unseen" doc:"not seen for 30 days"`
			Conflicts   int            `json:"conflicts"`
			Uploads     int            `json:"uploads_waiting"`
		}
	}
	add(a, "GET", "/overview", access.See, "the fleet in numbers", func(ctx context.Context, _ *struct{}) (*overviewOut, error) {
		o, err := a.s.Store.Overview(ctx, a.s.Now().Add(-unseenAfter))
		if err != nil {
			return nil, err
		}
		out := &overviewOut{}
		b := &out.Body
		b.Hosts, b.Exploited, b.Ransomware, b.Restart, b.Unseen, b.Conflicts, b.Uploads = o.Hosts, o.Exploited, o.Ransomware, o.Restart, o.Unseen, o.Conflicts, o.Uploads
		b.Releases, b.Sites, b.Owners, b.Behind = countBodies(o.ByRelease), countBodies(o.BySite), countBodies(o.ByOwner), countBodies(o.ByBehind)
		b.Levels, b.Support, b.Criticality = map[string]int{}, map[string]int{}, map[string]int{}
		for k, n := range o.ByLevel {
			b.Levels[k.String()] = n
		}
		for k, n := range o.BySupport {
			b.Support[string(k)] = n
		}
		for k, n := range o.ByCriticality {
			b.Criticality[k.String()] = n
		}
		return out, nil
	})
	type cveBody struct {
		CVE       string `json:"cve"`
		Affected  int    `json:"affected"`
		Unfixable int    `json:"unfixable"`
		Unknown   int    `json:"unknown"`
		Exploited bool   `json:"exploited"`
	}
	type cvesOut struct {
		Body struct {
			CVEs []cveBody `json:"cves"`
		}
	}
	add(a, "GET", "/cves", access.See, "vulnerabilities that are open anywhere, those on most machines first", func(ctx context.Context, _ *struct{}) (*cvesOut, error) {
		list, err := a.s.Store.CVEs(ctx)
		out := &cvesOut{}
		out.Body.CVEs = make([]cveBody, 0, len(list))
		for _, c := range list {
			out.Body.CVEs = append(out.Body.CVEs, cveBody(c))
		}
		return out, err
	})
	type updateBody struct {
		KB    string `json:"kb"`
		Hosts int    `json:"hosts"`
	}
	type updatesOut struct {
		Body struct {
			Updates []updateBody `json:"updates"`
		}
	}
	add(a, "GET", "/updates", access.See, "updates that are missing anywhere, those on most machines first", func(ctx context.Context, _ *struct{}) (*updatesOut, error) {
		list, err := a.s.Store.KBs(ctx)
		out := &updatesOut{}
		out.Body.Updates = make([]updateBody, 0, len(list))
		for _, k := range list {
			out.Body.Updates = append(out.Body.Updates, updateBody{k.KB.String(), k.Hosts})
		}
		return out, err
	})
	type sourceBody struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Last string `json:"last" doc:"the last day it speaks about: past it nothing is known"`
	}
	type sourcesOut struct {
		Body struct {
			Sources []sourceBody `json:"sources"`
		}
	}
	add(a, "GET", "/sources", access.See, "what the verdicts rest on, and until when", func(context.Context, *struct{}) (*sourcesOut, error) {
		out := &sourcesOut{}
		out.Body.Sources = []sourceBody{}
		for _, src := range a.s.Fleet.InUse().Sources() {
			out.Body.Sources = append(out.Body.Sources, sourceBody{src.ID, src.Name, src.Last.String()})
		}
		return out, nil
	})
}
