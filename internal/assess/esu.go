package assess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
)

// Ready is one of the four things an ESU update needs, each told for itself: a KB of the
// ESU era proves no licence, and a licence no package.
type Ready struct {
	ID      string // "sha2", "servicing-stack", "licensing-package" or "entitlement"
	Name    string
	State   host.Tri
	Because host.Reason
	Hint    string // what would tell, where State is Unknown
}

const (
	hintLicence = "cscript //nologo %windir%\\system32\\slmgr.vbs /dlv all > slmgr.txt"
	hintCBS     = "reg export \"HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\Packages\" cbs.reg"
)

// readiness fills ESU, for a release that has or had a programme of extended updates.
func (x *assessor) readiness() {
	rel := x.rec.Release
	if len(rel.Programmes) == 0 {
		return
	}
	x.ESU = []Ready{x.readySHA2(), x.readyStack(), x.readyLicensing(), x.readyEntitlement()}
}

func (x *assessor) readySHA2() Ready {
	r := Ready{ID: "sha2", Name: "SHA-2 signatures"}
	i := x.newest(catalog.SHA2, nil)
	if i < 0 && !x.has(catalog.SHA2) {
		r.State, r.Because.Text = host.Yes, x.rec.Release.Name+" reads SHA-2 signatures as it came"
		return r
	}
	return x.readyUpdate(r, i, "")
}

func (x *assessor) readyStack() Ready {
	r := Ready{ID: "servicing-stack", Name: "servicing stack"}
	if x.rec.Release.Always {
		r.Because.Text = "the servicing stack comes with the cumulative update"
		if x.st.Newest >= 0 {
			r.State = host.Yes
			r.Because.Text += "; " + x.name(x.Updates.Newest) + " is in force"
		}
		return r
	}
	return x.readyUpdate(r, x.newest(catalog.ServicingStack, nil), "the newest one known by that day; an older one may do for an older update")
}

// readyUpdate tells whether update i is in force.
func (x *assessor) readyUpdate(r Ready, i int, remark string) Ready {
	if i < 0 {
		r.Because.Text = "none is known to have been published by " + x.AsOf.String()
		return r
	}
	u := &x.rec.Updates[i]
	switch {
	case x.st.InForce(i):
		r.State, r.Because = host.Yes, x.whyForce(i, false)
		r.Because.Text = strings.Replace(r.Because.Text, " fixes it and is contained", " is contained", 1)
	case x.st.State[i] == infer.Absent:
		r.State, r.Because = host.No, x.whyAbsent(i)
		r.Because.Text = x.name(u.KB) + ": " + r.Because.Text
	default:
		r.Because, r.Hint = x.whyAbsent(i), hintList
		r.Because.Text = x.name(u.KB) + ": " + r.Because.Text
	}
	if remark != "" && r.State != host.Yes {
		r.Because.Text += " (" + remark + ")"
	}
	return r
}

func (x *assessor) has(s catalog.Stream) bool {
	return slices.ContainsFunc(x.rec.Updates, func(u catalog.Update) bool { return u.Stream == s })
}

func (x *assessor) readyLicensing() Ready {
	r := Ready{ID: "licensing-package", Name: "ESU licensing package"}
	packages := x.rec.Release.Licensing
	if len(packages) == 0 {
		r.Because.Text = "no licensing package is known for " + x.rec.Release.Name
		return r
	}
	var names []string
	for _, p := range slices.Backward(packages) {
		if x.Host.Updates.Has(p.KB) == host.Yes {
			r.State = host.Yes
			r.Because = host.Reason{Text: p.KB.String() + " (" + p.Released + ") is installed", From: x.Host.Updates.Sources(p.KB)}
			return r
		}
		names = append(names, p.KB.String())
	}
	if x.st.IsWhole {
		r.State = host.No
		r.Because = host.Reason{Text: "none of " + strings.Join(names, ", ") + " is in the list, which is whole: " + x.st.Whole.Why, From: []host.Source{x.st.Whole.From}}
		return r
	}
	r.Because.Text, r.Hint = "none of "+strings.Join(names, ", ")+" is listed, and no list is known to be complete", hintCBS
	return r
}

// readyEntitlement looks for an activated key of a programme. It detects; it decides
// nothing: on Azure no key is used, and Premium Assurance has no activation id that is
// known.
func (x *assessor) readyEntitlement() Ready {
	r := Ready{ID: "entitlement", Name: "ESU entitlement"}
	names := map[string]string{}
	for _, p := range x.rec.Release.Programmes {
		names[p.ID] = p.Name
	}
	var seen *host.Licence
	for i := range x.Host.Licences {
		l := &x.Host.Licences[i]
		for _, a := range x.rec.Release.Activations {
			if !strings.EqualFold(l.ActivationID, a.ID) {
				continue
			}
			what := fmt.Sprintf("%s (activation id %s) is %s", names[a.Programme], a.ID, l.Status)
			if l.Status == host.Licensed {
				r.State, r.Because = host.Yes, host.Reason{Text: what, From: []host.Source{l.From}}
				return r
			}
			if l.PartialKey != "" || seen == nil {
				seen = l
				r.Because = host.Reason{Text: what, From: []host.Source{l.From}}
			}
		}
	}
	whole := x.Host.LicencesWhole.Or(false)
	switch {
	case seen != nil && seen.Status != host.LicenceUnknown:
		r.State = host.No
	case seen != nil:
	case whole && len(x.rec.Release.Activations) > 0:
		r.State = host.No
		r.Because = host.Reason{Text: "no ESU key is installed: the list of licences is complete and holds none of its activation ids (on Azure no key is used)", From: sourcesOf(x.Host.LicencesWhole)}
	default:
		r.Because.Text, r.Hint = "no evidence shows the licences; an installed update of the ESU era proves none", hintLicence
	}
	return r
}

// KnownError is a sign of trouble that a log shows and that is explained somewhere.
type KnownError struct {
	host.LogError
}

// errors carries the errors of logs into the assessment, oldest first.
func (x *assessor) errors() {
	for _, e := range x.Host.Errors {
		x.Errors = append(x.Errors, KnownError{e})
	}
	slices.SortStableFunc(x.Errors, func(a, b KnownError) int { return a.On.Compare(b.On) })
}

// restart says that updates wait for a restart.
func (x *assessor) restart() {
	for _, r := range x.Host.Restart {
		x.note("A restart is pending: " + r.Text + ". Until then what was installed last is not in effect.")
		return
	}
}
