package access

// Size is how many keys it remembers.
func (t *Throttle) Size() int { return len(t.keys) }

// MaxKeys is how many it may.
const MaxKeys = maxKeys
