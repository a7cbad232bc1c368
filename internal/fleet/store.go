package fleet

import (
	"context"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// Store is what the fleet remembers by. Every method is one transaction: done or not. All
// may be called at the same time. ErrNotFound is given for what is not there.
type Store interface {
	Uploads
	Hosts
	Decisions
	History
	Recorder
}

// Uploads are what was received.
type Uploads interface {
	// AddUpload stores an upload and asks for it to be read, both or neither. With a key
	// that is known it gives the upload of that key and false, or ErrKeyReused if the
	// content is another.
	AddUpload(ctx context.Context, u Upload) (stored Upload, added bool, err error)
	Upload(ctx context.Context, id int64) (Upload, error)
	Uploads(ctx context.Context, q UploadQuery) ([]Upload, error)
	// RetryUpload asks for an upload that failed to be read again; ErrNotFound for others.
	RetryUpload(ctx context.Context, id int64) error
	// Sightings gives what an upload says of machines, by part.
	Sightings(ctx context.Context, upload int64) ([]Sighting, error)
}

// Hosts are the machines.
type Hosts interface {
	Host(ctx context.Context, id int64) (Host, error)
	Hosts(ctx context.Context, q HostQuery) (HostPage, error)
	// HostSightings gives the evidence of a machine, the newest first.
	HostSightings(ctx context.Context, id int64) ([]Sighting, error)
	// Overview counts; unseen are machines not seen since that time.
	Overview(ctx context.Context, unseen time.Time) (Overview, error)
	// CVEs counts the vulnerabilities that are open anywhere, KBs the updates that are
	// missing, Tags the tags: the most machines first.
	CVEs(ctx context.Context) ([]CVECount, error)
	KBs(ctx context.Context) ([]KBCount, error)
	Tags(ctx context.Context) ([]Count, error)
}

// Decisions are what people decide. By is who.
type Decisions interface {
	EditHosts(ctx context.Context, ids []int64, e OwnedEdit) error
	AddNote(ctx context.Context, n Note) (Note, error)
	Notes(ctx context.Context, host int64) ([]Note, error)
	AddRisk(ctx context.Context, r Risk) (Risk, error)
	RemoveRisk(ctx context.Context, id int64) error
	// Risks gives those accepted for a machine and those for all; host 0 gives every one.
	Risks(ctx context.Context, host int64) ([]Risk, error)
	// Conflicts gives the open ones, the newest first; host 0 is of all machines.
	Conflicts(ctx context.Context, host int64) ([]Conflict, error)
	ResolveConflict(ctx context.Context, id int64, by string, at time.Time) error
}

// History is what was.
type History interface {
	Changes(ctx context.Context, q ChangeQuery) ([]Change, error)
	Change(ctx context.Context, id int64) (Change, error) // with its document
	Days(ctx context.Context, from, until catalog.Date) ([]Day, error)
	Catalogs(ctx context.Context) ([]CatalogInfo, error) // the newest first
	Runs(ctx context.Context, limit int) ([]Run, error)  // the newest first
	Run(ctx context.Context, id int64) (Run, error)
	// Jobs tells what is waiting, being done, done lately, and what went wrong.
	Jobs(ctx context.Context) (Jobs, error)
}

// Part is one sighting with what it says, encoded: see host.Encode. Body is nil for one
// that is given to a machine and not current.
type Part struct {
	Sighting
	Body    []byte
	Renewed bool // Body is another than the one stored
}

// Placing is a machine with all that its next assessment is made from.
type Placing struct {
	Host     Host
	Parts    []Part // its current evidence, the oldest first
	Verdicts []byte // see Verdicts
	Loss     Loss
}

// Assessed is a new state of one machine, to be stored as a whole.
type Assessed struct {
	// Host is stored but for what people say (Owned). ID 0 is a new one; Version is that of
	// the state it was made from.
	Host Host
	// Parts is all of its current evidence, and what is new of it: with ID 0, and perhaps
	// not current. Nil leaves the evidence as it is.
	Parts    []Part
	Verdicts []byte
	Missing  []winver.KB // as in Verdicts
	Change   *Change     // nil where nothing changed
	Loss     *Loss       // nil where it is as before
	// Back: it was retired, and is seen again.
	Back bool
	// Absorbs is a machine that turned out to be this one: its evidence, history, notes,
	// risks and tags become this one's, and the conflicts between the two are resolved. 0 is
	// none. By is who says so.
	Absorbs int64
	By      string
	// Conflicts came up with it. Host and Sighting are filled in where they are 0.
	Conflicts []Conflict
}

// Unplaced is evidence that is given to no machine, and why.
type Unplaced struct {
	Part
	Conflict Conflict
}

// Result is what became of an upload, or of a part of it, or of some machines of a run.
type Result struct {
	Now      time.Time
	Assessed []Assessed
	Unplaced []Unplaced
	// Placed is evidence that was given to none before, and the machines it was given to are
	// among Assessed: the conflicts that it was are resolved. By is who says so.
	Placed []int64
	By     string
	// Upload is done with this, and found Machines. If it found none, it failed, and Error
	// says why; else Error says what in it could not be read. 0 is not yet.
	Upload   int64
	Machines int
	Error    string
	// Run is done up to machine Last, and at its end if Ended. 0 is no run.
	Run       int64
	Last      int64
	Ended     bool
	Seen      int     // machines looked at
	Unchanged []int64 // of them, those of which only AsOf, Catalog and Assessed are new,
	AsOf      catalog.Date
	Catalog   string
}

// Recorder is what jobs store by.
type Recorder interface {
	// Candidates gives the machines that share the name, the machine id, or, without a name,
	// the product id; not those that are merged into others.
	Candidates(ctx context.Context, id Identity) ([]Placing, error)
	// Placing gives one machine.
	Placing(ctx context.Context, host int64) (Placing, error)
	// Placings gives machines that are not retired and were judged by another catalogue or
	// for another day, by id, behind one of them.
	Placings(ctx context.Context, behind int64, n int, catalog string, day catalog.Date) ([]Placing, error)
	// Unplaced gives evidence that is given to no machine; ErrNotFound if it is given to one.
	Unplaced(ctx context.Context, sighting int64) (Part, error)
	// Record stores a result. Nothing is stored and ErrStale given if a machine has another
	// version than its Assessed says, or if the upload or a part of it was stored before.
	Record(ctx context.Context, r Result) error
	// UseCatalog notes that a catalogue is in use from now on.
	UseCatalog(ctx context.Context, c CatalogInfo) error
	// BeginRun stores a pass over all machines and asks for it to be done, unless one for
	// the same catalogue and day is there; it ends those that are not done.
	BeginRun(ctx context.Context, r Run) (begun bool, err error)
	// NoteDay notes how the fleet stands on a day; what was noted of the day is replaced.
	NoteDay(ctx context.Context, day catalog.Date, unseen time.Time) error
}
