package telemetry

// Rejected reads a collector's answer.
func Rejected(response []byte) int64 { return rejected(response) }
