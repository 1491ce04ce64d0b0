package datadir

// Format returns the format marker.
func (d *Dir) Format() Format {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.format
}
