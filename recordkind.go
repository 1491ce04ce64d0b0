package caxton

import (
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
