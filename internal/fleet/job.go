package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Job is work to be done, as its arguments; they are stored as JSON. A job may run twice,
// and may be cut off anywhere: it must be harmless to do it again.
type Job interface {
	// Kind names the kind; it never changes once jobs of it may be stored.
	Kind() string
}

// Work is how jobs of one kind are done: code and its documentation together.
type Work struct {
	Kind, Doc string
	// Do does a job. After an error, or a panic, it is tried again with growing pauses. The
	// context ends with the server; an error because of that is no attempt. What ended with
	// the process is always tried again.
	Do       func(ctx context.Context, t Task) error
	Attempts int           // after so many an error is the last one; 0 is 25, over three weeks
	Timeout  time.Duration // 0 is none
	// Every makes a job of this kind, without arguments, so often; 0 is never.
	Every time.Duration
}

// Queue takes jobs.
type Queue interface {
	// Enqueue stores jobs; they are done after it returns, in no order.
	Enqueue(ctx context.Context, jobs ...Job) error
}

// Jobs is how jobs stand.
type Jobs struct {
	Counts []JobCount  // by kind and state
	Failed []FailedJob // those whose last attempt failed, the newest first, at most MaxFailed
}

// MaxFailed is the most failed jobs that Jobs lists.
const MaxFailed = 50

// JobState is how far a job is.
type JobState string

// The states. What is done is forgotten after a day, what was given up after a week.
const (
	JobWaiting JobState = "waiting" // for its turn
	JobLater   JobState = "later"   // for a time, or for its next attempt
	JobRunning JobState = "running"
	JobDone    JobState = "done"
	JobGivenUp JobState = "given up"
)

// JobStates lists the states in the order in which jobs go through them.
func JobStates() []JobState {
	return []JobState{JobWaiting, JobLater, JobRunning, JobDone, JobGivenUp}
}

// JobCount is how many jobs of one kind are in one state.
type JobCount struct {
	Kind  string
	State JobState
	Jobs  int
	Last  time.Time // when one of them was tried last; zero for never
}

// FailedJob is a job whose last attempt failed.
type FailedJob struct {
	ID      int64
	Kind    string
	State   JobState
	Attempt int
	At      time.Time // of the attempt
	Next    time.Time // of the next one; zero where it was given up
	Error   string
}

// Task is a job that is being done.
type Task struct {
	Args    json.RawMessage
	Attempt int // from 1; those that ended with the process count
}

// Unmarshal reads the arguments.
func (t Task) Unmarshal(job Job) error {
	if err := json.Unmarshal(t.Args, job); err != nil {
		return fmt.Errorf("arguments of %s: %w", job.Kind(), err)
	}
	return nil
}

// WorkOn makes a Work of a function with typed arguments.
func WorkOn[J Job](doc string, do func(ctx context.Context, job J) error) Work {
	var zero J
	return Work{Kind: zero.Kind(), Doc: doc, Do: func(ctx context.Context, t Task) error {
		var job J
		if err := json.Unmarshal(t.Args, &job); err != nil {
			return fmt.Errorf("arguments of %s: %w", zero.Kind(), err)
		}
		return do(ctx, job)
	}}
}

// ReadUpload reads an upload, and assesses the machines in it.
type ReadUpload struct {
	Upload int64 `json:"upload"`
}

// Kind is "read-upload".
func (ReadUpload) Kind() string { return "read-upload" }

// Reassess goes on with a pass over all machines.
type Reassess struct {
	Run int64 `json:"run"`
}

// Kind is "reassess".
func (Reassess) Kind() string { return "reassess" }

// Daily looks whether a new day or a new catalogue asks for a pass over all machines, and
// notes the state of the day.
type Daily struct{}

// Kind is "daily".
func (Daily) Kind() string { return "daily" }
