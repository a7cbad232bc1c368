package host

// Reason is one sentence of an argument and the sources it rests on. From is empty where
// it rests on the catalogue alone.
type Reason struct {
	Text string
	From []Source
}
