package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/winver"
)

// The documents of plans; docs/schema/plan-1.json holds what programs may rely on.
const (
	schemaPlan  = "oldguard/plan/1"
	schemaPlans = "oldguard/plans/1"
)

// PlanFormat is one way to write patch plans: code and its documentation together.
type PlanFormat struct {
	Name, Ext, MIME, Doc string
	// Single is true if it is for one machine alone.
	Single bool
	// Write writes the plans. Of Options it looks at Width and Color.
	Write func(w io.Writer, plans []*plan.Patch, o Options) error
}

// PatchPlans lists the formats of a patch plan, the default first.
func PatchPlans() []PlanFormat {
	return []PlanFormat{
		{Name: "text", Ext: ".txt", MIME: "text/plain; charset=utf-8", Write: planText, Doc: "for people: what to do, in which order, and how one knows that it worked"},
		{
			Name: "json", Ext: ".json", MIME: "application/json", Write: planJSON,
			Doc: `one document "` + schemaPlan + `", or of several machines "` + schemaPlans + `" with a list of them`,
		},
		{Name: "html", Ext: ".html", MIME: "text/html; charset=utf-8", Write: planHTML, Doc: "a runbook to print, with boxes to tick: a page for who decides, then the steps; needs no network"},
		{Name: "cmd", Ext: ".cmd", MIME: "text/plain; charset=us-ascii", Single: true, Write: planCmd, Doc: "a script for the machine itself, and for no other: stops on failure, goes on after each restart"},
	}
}

// FindPlan gives the format with that name.
func FindPlan(list []PlanFormat, name string) (PlanFormat, bool) {
	i := slices.IndexFunc(list, func(f PlanFormat) bool { return f.Name == name })
	if i < 0 {
		return PlanFormat{}, false
	}
	return list[i], true
}

// PatchDocument is a patch plan as programs read it. Lists are never null; what is not
// known is.
type PatchDocument struct {
	Schema      string           `json:"schema"`
	Kind        string           `json:"kind"` // "patch"
	AsOf        catalog.Date     `json:"as_of"`
	Host        PlanHost         `json:"host"`
	Entitlement plan.Entitlement `json:"entitlement"`
	Line        *plan.Line       `json:"line"`
	Until       date             `json:"until"`
	Target      *string          `json:"target"` // release id
	Reached     *winver.KB       `json:"reached"`
	Build       *winver.Build    `json:"reached_build"`
	Before      PlanCounts       `json:"before"`
	After       *PlanCounts      `json:"after"`
	Restarts    int              `json:"restarts"`
	Minutes     int              `json:"minutes_estimated"`
	Steps       []PlanStep       `json:"steps"`
	Fetch       []PlanFile       `json:"to_fetch"`
	Beyond      []Update         `json:"beyond"`
	Why         *string          `json:"no_plan_because"`
	Notes       []string         `json:"notes"`
}

// PlanHost is the machine of a plan.
type PlanHost struct {
	Name      *string       `json:"name"`
	ProductID *string       `json:"product_id"`
	MachineID *string       `json:"machine_id"`
	Release   *string       `json:"release"`
	Arch      *string       `json:"arch"`
	Build     *winver.Build `json:"build"`
}

// PlanCounts are vulnerabilities as of the day, before or after the plan.
type PlanCounts struct {
	Affected   int `json:"affected"`
	Unfixable  int `json:"unfixable"`
	Unknown    int `json:"unknown"`
	Critical   int `json:"critical_affected"`
	Exploited  int `json:"exploited"`
	Ransomware int `json:"ransomware"`
}

// PlanStep is one thing to do.
type PlanStep struct {
	ID        string        `json:"id"`
	Kind      plan.StepKind `json:"kind"`
	Title     string        `json:"title"`
	KB        *winver.KB    `json:"kb"`
	File      *PlanFile     `json:"file"`
	Changes   string        `json:"changes"`
	Permanent bool          `json:"permanent"`
	Minutes   int           `json:"minutes_estimated"`
	Commands  []string      `json:"commands"`
	Check     []string      `json:"check"`
	Failures  []PlanFailure `json:"failures"`
	Needs     []string      `json:"needs"`
	Because   []Reason      `json:"because"`
}

// PlanFailure is a way a step is known to fail.
type PlanFailure struct {
	Code  *string `json:"code"`
	Cause string  `json:"cause"`
	Cure  string  `json:"cure"`
}

// PlanFile is the package file of a step: what it is called, and what of it is there.
type PlanFile struct {
	KB      winver.KB  `json:"kb"`
	Name    string     `json:"name"`
	Seen    bool       `json:"name_seen"`
	SHA256  *string    `json:"sha256"`
	Size    *int64     `json:"size"`
	Have    *PlanHave  `json:"have"`
	Refused []PlanHave `json:"refused"`
}

// PlanHave is a file that the owner has.
type PlanHave struct {
	Name    string   `json:"name"`
	SHA1    *string  `json:"sha1"`
	SHA256  *string  `json:"sha256"`
	Genuine bool     `json:"genuine"`
	Verdict string   `json:"verdict"`
	Because []string `json:"because"`
}

// NewPatch makes the document of a plan.
func NewPatch(p *plan.Patch) *PatchDocument {
	d := &PatchDocument{
		Schema: schemaPlan, Kind: "patch", AsOf: p.AsOf, Entitlement: p.Entitlement, Line: known(p.Line), Until: date(p.Until),
		Host:    PlanHost{Name: known(p.Host), ProductID: known(p.ProductID), MachineID: known(p.MachineID), Build: known(p.From)},
		Reached: known(p.Reached), Build: known(p.ReachedBuild), Before: countsOf(&p.Before), Restarts: p.Restarts(), Minutes: p.Minutes(),
		Steps: each(p.Steps, planStepOf), Fetch: []PlanFile{}, Beyond: each(p.Beyond, updateOf), Why: known(p.Why), Notes: slices.Clone(p.Notes),
	}
	if d.Notes == nil {
		d.Notes = []string{}
	}
	if p.Release != nil {
		d.Host.Release, d.Target = known(p.Release.ID), known(p.Target.ID)
	}
	if p.Arch != winver.ArchUnknown {
		d.Host.Arch = known(p.Arch.String())
	}
	if p.Why == "" {
		after := countsOf(&p.After)
		d.After = &after
	}
	for _, s := range toFetch(p) {
		d.Fetch = append(d.Fetch, fileOf(s))
	}
	return d
}

func countsOf(s *assess.Summary) PlanCounts {
	return PlanCounts{s.Affected, s.Unfixable, s.Unknown, s.CriticalAffected, s.Exploited, s.Ransomware}
}

// toFetch gives the steps whose file the owner has not.
func toFetch(p *plan.Patch) []*plan.Step {
	return slices.DeleteFunc(p.Updates(), func(s *plan.Step) bool { return s.Have != nil })
}

func planStepOf(s plan.Step) PlanStep {
	out := PlanStep{
		ID: s.ID, Kind: s.Kind, Title: s.Title, KB: known(s.KB), Changes: s.Changes, Permanent: s.Permanent, Minutes: s.Minutes,
		Commands: strings0(s.Commands), Check: strings0(s.Check), Needs: strings0(s.Needs), Because: reasons(s.Because),
		Failures: each(s.Failures, func(f plan.Failure) PlanFailure { return PlanFailure{known(f.Code), f.Cause, f.Cure} }),
	}
	if s.Kind == plan.StepUpdate {
		f := fileOf(&s)
		out.File = &f
	}
	return out
}

// strings0 is a list that is never null.
func strings0(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func fileOf(s *plan.Step) PlanFile {
	f := PlanFile{KB: s.KB, Name: s.File, Seen: s.FileSure, SHA256: known(s.SHA256), Size: known(s.Size), Refused: each(s.Refused, haveOf)}
	if s.Have != nil {
		h := haveOf(*s.Have)
		f.Have = &h
	}
	return f
}

func haveOf(h plan.Have) PlanHave {
	return PlanHave{h.Name, known(h.SHA1), known(h.SHA256), h.Genuine, verdictOf(h), strings0(h.Because)}
}

func verdictOf(h plan.Have) string {
	if h.Verdict == "" {
		return "not verified"
	}
	return h.Verdict
}

func planJSON(w io.Writer, plans []*plan.Patch, _ Options) error {
	enc := json.NewEncoder(w)
	if len(plans) == 1 {
		enc.SetIndent("", "  ")
		return enc.Encode(NewPatch(plans[0]))
	}
	return enc.Encode(struct {
		Schema string           `json:"schema"`
		Plans  []*PatchDocument `json:"plans"`
	}{schemaPlans, each(plans, NewPatch)})
}

// Sentences that the formats share.

func planName(p *plan.Patch) string {
	if p.Host == "" {
		return "a machine whose name is not known"
	}
	return p.Host
}

// planWhere says where the machine stands, planAim what the plan reaches.
func planWhere(p *plan.Patch) string {
	if p.Release == nil {
		return "It is not known what this machine runs."
	}
	build := ""
	if p.From.Known() {
		build = ", build " + p.From.String()
	}
	arch := "of unknown architecture"
	if p.Arch != winver.ArchUnknown {
		arch = p.Arch.String()
	}
	return fmt.Sprintf("%s, %s%s.", p.Release.Name, arch, build)
}

func planAim(p *plan.Patch) string {
	switch {
	case p.Why != "":
		return "There is no plan: " + p.Why + "."
	case len(p.Steps) == 0:
		aim := fmt.Sprintf("Nothing is to be installed: all that was published until %s and counts for this machine is there.", p.Until)
		if open := p.Before.Affected + p.Before.Unfixable; open > 0 { // so that nobody takes it for a clean bill
			aim += fmt.Sprintf(" It stays affected by %s", plural(open, "vulnerability"))
			if p.Before.Exploited > 0 {
				aim += fmt.Sprintf(", %d of them known to be exploited", p.Before.Exploited)
			}
			aim += "."
		}
		return aim
	}
	aim := "build " + p.ReachedBuild.String()
	if p.Target != p.Release {
		aim = p.Target.Name + ", " + aim
	}
	if p.Line == plan.SecurityOnly {
		return fmt.Sprintf("It reaches %s, with all security-only updates published until %s.", aim, p.Until)
	}
	if p.Reached == 0 {
		return fmt.Sprintf("It reaches %s, with what was published until %s.", aim, p.Until)
	}
	return fmt.Sprintf("It reaches %s with %s, what was published until %s.", aim, p.Reached, p.Until)
}

// planEffort says how much work it is.
func planEffort(p *plan.Patch) string {
	return fmt.Sprintf("%s, %s, about %s on the machine (an estimate for a slow one)", plural(len(p.Updates()), "update"), plural(p.Restarts(), "restart"), hours(p.Minutes()))
}

func hours(minutes int) string {
	if minutes <= 90 {
		return plural(minutes, "minute")
	}
	half := (minutes + 15) / 30
	if half%2 == 0 {
		return plural(half/2, "hour")
	}
	return fmt.Sprintf("%d½ hours", half/2)
}

// entitled names what the owner may install.
func entitled(p *plan.Patch) string {
	if p.Entitlement == plan.None {
		return "no entitlement beyond the end of support"
	}
	return "entitlement " + string(p.Entitlement)
}

// fetchWords is what is known of a file that is to be fetched.
func fetchWords(s *plan.Step) string {
	text := s.File
	switch {
	case s.SHA256 != "":
		text += fmt.Sprintf(", SHA-256 %s, %d bytes (seen elsewhere under this name)", s.SHA256, s.Size)
	case s.FileSure:
		text += ", no digest known"
	default:
		text += " (named by Microsoft's rule; the name was not seen, no digest known)"
	}
	return text
}

func sumOf(s *assess.Summary) string {
	text := plural(s.Affected+s.Unfixable, "vulnerability") + " without its fix"
	if s.Exploited > 0 {
		text += fmt.Sprintf(", %d of them exploited", s.Exploited)
	}
	if s.Unknown > 0 {
		text += fmt.Sprintf("; %d not decided", s.Unknown)
	}
	return text
}
