package store

import (
	"context"
	"sync"
)

// memo keeps the last answer to a question about the whole fleet for as long as nothing has
// changed: pages ask the same ones over and over. Only this process writes, so DB.changes
// tells. Whoever asks while another computes waits for him.
type memo[K comparable, V any] struct {
	mu      sync.Mutex
	known   bool
	changes int64
	key     K
	value   V
}

// of gives the value for a key; what it gives is shared and must not be altered.
func (m *memo[K, V]) of(ctx context.Context, d *DB, key K, compute func(context.Context, K) (V, error)) (V, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changes := d.changes.Load() // before what it is computed from is read
	if m.known && m.changes == changes && m.key == key {
		return m.value, nil
	}
	v, err := compute(ctx, key)
	if err == nil {
		m.known, m.changes, m.key, m.value = true, changes, key, v
	}
	return v, err
}
