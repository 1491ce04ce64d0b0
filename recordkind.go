package caxton

import (
	"errors"
	"slices"
	"strings"
)

// RecordKinds returns every kind of record.
func RecordKinds() []RecordKind {
	return []RecordKind{
		RecordMessage, RecordLeased, RecordReleased, RecordModelCalled, RecordToolIntended, RecordToolReturned, RecordSettled, RecordCancelAsked,
		RecordParked, RecordReopened, RecordApprovalAsked, RecordDecided, RecordBudgetReserved, RecordBudgetSettled, RecordForked, RecordArchived,
		RecordMemoryRecalled, RecordMemoryWritten,
	}
}

// ParseEventKind returns s as the kind of an event: a RecordKind, or EventRollout. Errors: Invalid.
func ParseEventKind(s string) (RecordKind, error) {
	if s == EventRollout {
		return EventRollout, nil
	}
	k, err := ParseRecordKind(s)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Hint += ", " + EventRollout
	}
	return k, err
}

// ParseRecordKind returns s as a RecordKind, or an Invalid error.
func ParseRecordKind(s string) (RecordKind, error) {
	kinds := RecordKinds()
	if slices.Contains(kinds, RecordKind(s)) {
		return RecordKind(s), nil
	}
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return "", Errorf(Invalid, "record_kind_unknown", "%.100q is not a kind of record", s).WithHint("the kinds are %s", strings.Join(names, ", "))
}
