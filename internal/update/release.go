package update

// Release lets go of the bytes: afterwards Walk visits nothing, Cabinet gives nil and there is no
// Scan. What was read of them stays, so that many packages can be kept side by side.
func (p *Package) Release() { p.cabinets, p.Scan = nil, nil }
