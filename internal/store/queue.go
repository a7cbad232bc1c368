package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/oldguard/oldguard/internal/fleet"
)

var _ fleet.Queue = (*DB)(nil)

// queue is River on one of the databases.
type queue[T any] struct {
	driver riverdriver.Driver[T]
	log    *slog.Logger
	client *river.Client[T] // enqueues; Work makes another that works
}

func newQueue[T any](driver riverdriver.Driver[T], log *slog.Logger) (*queue[T], error) {
	c, err := river.NewClient(driver, &river.Config{Logger: log, SkipUnknownJobCheck: true, MaxAttempts: maxAttempts})
	if err != nil {
		return nil, fmt.Errorf("set up the jobs: %w", err)
	}
	return &queue[T]{driver: driver, log: log, client: c}, nil
}

func (q *queue[T]) insert(ctx context.Context, tx T, jobs []fleet.Job) error {
	list, err := params(jobs)
	if err == nil {
		_, err = q.client.InsertManyTx(ctx, tx, list)
	}
	return err
}

func params(jobs []fleet.Job) (list []river.InsertManyParams, err error) {
	for _, j := range jobs {
		args, err := json.Marshal(j)
		if err != nil {
			return nil, fmt.Errorf("arguments of %s: %w", j.Kind(), err)
		}
		list = append(list, river.InsertManyParams{Args: job{j.Kind(), args}})
	}
	return list, nil
}

// Enqueue stores jobs.
func (d *DB) Enqueue(ctx context.Context, jobs ...fleet.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	return d.change(ctx, func(tx tx) error { return tx.enqueue(ctx, jobs...) })
}

// job is a job of any kind, as River sees it.
type job struct {
	kind string
	args json.RawMessage
}

// Kind names it.
func (j job) Kind() string { return j.kind }

// MarshalJSON gives the arguments.
func (j job) MarshalJSON() ([]byte, error) { return j.args, nil }

// UnmarshalJSON takes the arguments.
func (j *job) UnmarshalJSON(b []byte) error {
	j.args = append(j.args[:0], b...)
	return nil
}

// worker has one kind of work done.
type worker struct {
	river.WorkerDefaults[job]
	work fleet.Work
	log  *slog.Logger
}

// Work does one job. That the server stops is no fault of the job, and no attempt.
func (w worker) Work(ctx context.Context, j *river.Job[job]) error {
	err := w.work.Do(ctx, fleet.Task{Args: j.Args.args, Attempt: j.Attempt})
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), context.Canceled) && errors.Is(err, context.Canceled) {
		return river.JobSnooze(0)
	}
	last := j.Attempt >= cmp.Or(w.work.Attempts, river.MaxAttemptsDefault)
	w.log.WarnContext(ctx, "a job failed", slog.String("kind", w.work.Kind), slog.Int64("job", j.ID), slog.Int("attempt", j.Attempt),
		slog.Bool("last", last), slog.Any("error", err))
	if text := err.Error(); storable(text) != text {
		err = errors.New(storable(text)) // River keeps it as JSON, in which PostgreSQL takes no NUL
	}
	if last {
		return river.JobCancel(err)
	}
	return err
}

// Timeout is that of the work; none if it has none.
func (w worker) Timeout(*river.Job[job]) time.Duration {
	if w.work.Timeout == 0 {
		return -1
	}
	return w.work.Timeout
}

const (
	// maxAttempts is more than there will be: attempts that end with the process count, and
	// are no fault of the job. After how many errors it is given up is in worker.Work.
	maxAttempts = 10_000

	// atOnce is how many jobs are done at the same time for each processor: more than it can
	// do, since they wait for the database, the disk and the network.
	atOnce = 8

	fetchPause = 10 * time.Millisecond // between two looks for jobs
	fetchPoll  = time.Second           // where no news of a job comes
	softStop   = 10 * time.Second      // for jobs to end by themselves
)

// Work starts to have jobs done, also those that a process which is gone had begun. Call
// stop before Close: it waits for the jobs that are being done, and cuts them off after
// ten seconds; they are done again next time.
func (d *DB) Work(ctx context.Context, works []fleet.Work) (stop func() error, err error) {
	if d.pool == nil {
		return work(ctx, d.lite, d, works)
	}
	return work(ctx, d.post, d, works)
}

func work[T any](ctx context.Context, q *queue[T], d *DB, works []fleet.Work) (func() error, error) {
	config := &river.Config{
		Logger: q.log, Workers: river.NewWorkers(),
		FetchCooldown: fetchPause, FetchPollInterval: fetchPoll, SoftStopTimeout: softStop,
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: atOnce * runtime.GOMAXPROCS(0)}},
		RescueStuckJobsAfter: 24 * time.Hour, // Work looks after those of a dead process
		SkipUnknownJobCheck:  true,
		MaxAttempts:          maxAttempts,
	}
	for _, w := range works {
		river.AddWorkerArgs(config.Workers, job{kind: w.Kind}, river.Worker[job](worker{work: w, log: q.log}))
		if w.Every > 0 {
			config.PeriodicJobs = append(config.PeriodicJobs, river.NewPeriodicJob(
				river.PeriodicInterval(w.Every),
				func() (river.JobArgs, *river.InsertOpts) { return job{w.Kind, json.RawMessage("{}")}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			))
		}
	}
	client, err := river.NewClient(q.driver, config)
	if err != nil {
		return nil, fmt.Errorf("set up the jobs: %w", err)
	}
	// No other process has the store open: what runs, by its word, was cut off.
	_, err = d.write.ExecContext(ctx, "UPDATE river_job SET state = ? WHERE state = ?", rivertype.JobStateAvailable, rivertype.JobStateRunning)
	if err != nil {
		return nil, fmt.Errorf("take up the jobs that were cut off: %w", err)
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("start the jobs: %w", err)
	}
	return func() error { return client.Stop(context.Background()) }, nil
}

// jobStates are River's states as the fleet knows them.
var jobStates = map[rivertype.JobState]fleet.JobState{
	rivertype.JobStateAvailable: fleet.JobWaiting, rivertype.JobStatePending: fleet.JobWaiting,
	rivertype.JobStateScheduled: fleet.JobLater, rivertype.JobStateRetryable: fleet.JobLater,
	rivertype.JobStateRunning: fleet.JobRunning, rivertype.JobStateCompleted: fleet.JobDone,
	rivertype.JobStateCancelled: fleet.JobGivenUp, rivertype.JobStateDiscarded: fleet.JobGivenUp,
}

// Jobs tells how jobs stand.
func (d *DB) Jobs(ctx context.Context) (out fleet.Jobs, err error) {
	params := river.NewJobListParams().First(fleet.MaxFailed).
		States(rivertype.JobStateRetryable, rivertype.JobStateCancelled, rivertype.JobStateDiscarded).OrderBy(river.JobListOrderByID, river.SortOrderDesc)
	var failed *river.JobListResult
	if d.pool == nil {
		failed, err = d.lite.client.JobList(ctx, params)
	} else {
		failed, err = d.post.client.JobList(ctx, params)
	}
	if err != nil {
		return out, fmt.Errorf("list the jobs: %w", err)
	}
	for _, j := range failed.Jobs {
		f := fleet.FailedJob{ID: j.ID, Kind: j.Kind, State: jobStates[j.State], Attempt: j.Attempt, At: value(j.AttemptedAt)}
		if f.State == fleet.JobLater {
			f.Next = j.ScheduledAt.UTC()
		}
		if n := len(j.Errors); n > 0 {
			f.Error = j.Errors[n-1].Error
		}
		out.Failed = append(out.Failed, f)
	}
	out.Counts, err = d.countJobs(ctx)
	return out, err
}

func value(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// countJobs counts the jobs by kind and state.
func (d *DB) countJobs(ctx context.Context) (list []fleet.JobCount, err error) {
	last := "CAST(EXTRACT(EPOCH FROM MAX(attempted_at)) AS BIGINT)"
	if d.pool == nil {
		last = "CAST(strftime('%s', MAX(attempted_at)) AS INTEGER)"
	}
	var rows []struct {
		Kind  string
		State rivertype.JobState
		Jobs  int
		Last  *int64
	}
	if err = d.read.NewRaw("SELECT kind, state, COUNT(*) AS jobs, "+last+" AS last FROM river_job GROUP BY kind, state ORDER BY kind, state").Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("count the jobs: %w", err)
	}
	at := map[string]int{}
	for _, r := range rows {
		c := fleet.JobCount{Kind: r.Kind, State: jobStates[r.State], Jobs: r.Jobs}
		if r.Last != nil {
			c.Last = time.Unix(*r.Last, 0).UTC()
		}
		key := c.Kind + " " + string(c.State)
		i, known := at[key]
		if !known {
			at[key] = len(list)
			list = append(list, c)
			continue
		}
		list[i].Jobs += c.Jobs
		if c.Last.After(list[i].Last) {
			list[i].Last = c.Last
		}
	}
	return list, nil
}

// within is a transaction that was begun, and will end, elsewhere on a connection: what
// River takes, where database/sql has the transaction.
type within struct{ conn *pgx.Conn }

var errElsewhere = errors.New("this transaction ends where it was begun")

// Begin sets a savepoint.
func (w within) Begin(ctx context.Context) (pgx.Tx, error) {
	if _, err := w.conn.Exec(ctx, "SAVEPOINT within"); err != nil {
		return nil, err
	}
	return savepoint{w}, nil
}

// Commit is not for those within.
func (w within) Commit(context.Context) error { return errElsewhere }

// Rollback is not for those within.
func (w within) Rollback(context.Context) error { return errElsewhere }

// CopyFrom forwards to the connection, as do the methods below.
func (w within) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	return w.conn.CopyFrom(ctx, table, columns, rows)
}

// SendBatch forwards.
func (w within) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return w.conn.SendBatch(ctx, b)
}

// LargeObjects gives none.
func (w within) LargeObjects() pgx.LargeObjects { return pgx.LargeObjects{} }

// Prepare forwards.
func (w within) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	return w.conn.Prepare(ctx, name, sql)
}

// Exec forwards.
func (w within) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return w.conn.Exec(ctx, sql, args...)
}

// Query forwards.
func (w within) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return w.conn.Query(ctx, sql, args...)
}

// QueryRow forwards.
func (w within) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return w.conn.QueryRow(ctx, sql, args...)
}

// Conn gives the connection.
func (w within) Conn() *pgx.Conn { return w.conn }

// savepoint is a part of such a transaction that may be undone.
type savepoint struct{ within }

// Commit keeps the part.
func (s savepoint) Commit(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "RELEASE SAVEPOINT within")
	return err
}

// Rollback undoes the part.
func (s savepoint) Rollback(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT within")
	return err
}
