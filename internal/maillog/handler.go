package maillog

import (
	"context"
	"log/slog"
	"slices"
)

// handler turns records into lines and queues them.
type handler struct {
	level  slog.Level
	form   *format
	queue  *queue
	fields []field // of With
	prefix string  // of WithGroup: "a.b."
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle never fails: what the sink can't take is counted there.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	fields := append(make([]field, 0, len(h.fields)+r.NumAttrs()), h.fields...)
	r.Attrs(func(a slog.Attr) bool {
		fields = flatten(fields, h.prefix, a)
		return true
	})
	h.queue.put(h.form.line(r.Time, r.Level, r.Message, fields))
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.fields = slices.Clip(h.fields)
	for _, a := range attrs {
		with.fields = flatten(with.fields, h.prefix, a)
	}
	return &with
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix += name + "."
	return &with
}

// flatten appends a, a group's members each with the group's name in front.
func flatten(fields []field, prefix string, a slog.Attr) []field {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			fields = flatten(fields, prefix, member)
		}
		return fields
	}
	if a.Equal(slog.Attr{}) {
		return fields
	}
	return append(fields, newField(prefix+a.Key, v))
}
