package alert

import (
	"context"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/notify"
)

// Store is what alerts and messages are remembered by. Every method is one transaction. All
// may be called at the same time. fleet.ErrNotFound is given for what is not there.
type Store interface {
	Alerts
	Setup
	Outbox
}

// Alerts are what is so, or was.
type Alerts interface {
	// Open gives the open alerts, and those closed since a time, by id.
	Open(ctx context.Context, closedSince time.Time) ([]Alert, error)
	Alerts(ctx context.Context, q Query) ([]Alert, error)
	// Count gives how many are open and not acknowledged.
	Count(ctx context.Context, now time.Time) (int, error)
	Apply(ctx context.Context, t Turn) error
	// Acknowledge gives fleet.ErrNotFound for an alert that is not open.
	Acknowledge(ctx context.Context, id int64, a Ack) error
	// Machines gives those that are not retired, by id.
	Machines(ctx context.Context) ([]Machine, error)
	// Recent gives the newest change of each machine since a time with something newly
	// exploited, but for the first of a machine, by id. Of each it gives what the rules want.
	Recent(ctx context.Context, since time.Time) ([]fleet.Change, error)
	// Losses gives what machines lost since a time and have not got back, by machine.
	Losses(ctx context.Context, since time.Time) ([]Loss, error)
	// Forget removes closed alerts, with what was told of them, and messages that wait for
	// nothing, that are older than a time: of each at most so many, the oldest first. It gives
	// how many it removed.
	Forget(ctx context.Context, before time.Time, most int) (alerts, messages int, err error)
}

// Query chooses alerts, the newest first.
type Query struct {
	State    Standing
	Rule     string          // empty is every one
	Severity notify.Severity // at least
	Now      time.Time
	Before   int64 // those with a lower id; 0 is from the newest on
	Limit    int   // at most fleet.MaxPage, which 0 is too
}

// Standing is how an alert stands.
type Standing string

// The states.
const (
	StateOpen         Standing = "open" // and nobody knows of it
	StateAcknowledged Standing = "acknowledged"
	StateClosed       Standing = "closed"
)

// Channel is a way out that an administrator set up.
type Channel struct {
	ID       int64
	Name     string
	Kind     string // see notify.Kinds
	Settings notify.Settings
}

// Setup is what administrators set up.
type Setup interface {
	Channels(ctx context.Context) ([]Channel, error)
	// PutChannel adds one with ID 0, and changes another.
	PutChannel(ctx context.Context, c Channel) (int64, error)
	// RemoveChannel removes its routes too, and what waits to be sent there fails.
	RemoveChannel(ctx context.Context, id int64) error
	Routes(ctx context.Context) ([]Route, error)
	// PutRoute adds one with ID 0, and changes another; fleet.ErrNotFound too where its
	// channel is not there. What it told stays told.
	PutRoute(ctx context.Context, r Route) (int64, error)
	RemoveRoute(ctx context.Context, id int64) error
}

// DeliveryState is how far a message is. The zero value is waiting.
type DeliveryState uint8

// The states.
const (
	Waiting DeliveryState = iota
	Claimed               // it is being sent
	Sent
	Failed
	Unsure // it was being sent when the process ended, or no answer came: it may have gone, and is not sent again
)

var deliveryStates = [...]string{"waiting", "being sent", "sent", "failed", "not known whether it went"}

// String says it in words.
func (s DeliveryState) String() string { return deliveryStates[min(int(s), len(deliveryStates)-1)] }

// Delivery is one message to one channel: it is stored before it is sent, and kept for Keep.
type Delivery struct {
	ID       int64
	Channel  int64
	Route    int64 // 0 for a test
	Name     string
	Made     time.Time
	Message  notify.Message
	State    DeliveryState
	Attempts int
	Process  string    // that claimed it last
	Changed  time.Time // its state
	Error    string    // of the last attempt
}

// Outbox is what is to be sent, and what was.
type Outbox interface {
	// Queue stores deliveries and what they tell, and asks for them to be sent: all or none.
	Queue(ctx context.Context, list []Delivery, told []Told) error
	// Told gives the last messages of the open alerts, and of those closed since a time.
	Told(ctx context.Context, closedSince time.Time) ([]Told, error)
	// Claim takes a waiting delivery for a process that will send it at once. Ok is false
	// for one that is not waiting.
	Claim(ctx context.Context, id int64, process string, now time.Time) (d Delivery, ok bool, err error)
	// Settle says what became of a claimed one. Waiting is that it will be tried again.
	Settle(ctx context.Context, id int64, s DeliveryState, now time.Time, why string) error
	// Orphans marks what other processes have claimed, which are gone, as Unsure.
	Orphans(ctx context.Context, process string, now time.Time) (int, error)
	Deliveries(ctx context.Context, before int64, limit int) ([]Delivery, error)
}
