package host

// File is a program file of Windows, as it describes itself: the version resource, and the
// machine type in its header. Which file of a name runs is decided by servicing, so what
// lies in the Windows folder itself is meant and not the store of side-by-side components.
type File struct {
	Name string // from the Windows folder: System32\ntoskrnl.exe
	FileVersion
	From Source
}
