package node

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caxton/caxton/internal/telemetry"
)

// traces returns what records the server's traces, or nil when nothing is to be recorded. What
// the settings leave open is taken from the variables that OpenTelemetry knows.
func (n *node) traces(ctx context.Context) (*telemetry.Tracer, error) {
	o := &n.c.Observability
	if !o.TracingEnabled {
		return nil, nil //nolint:nilnil // a nil Tracer records nothing
	}
	env := otelVariables(n.o.Environ)
	cfg := telemetry.TraceConfig{
		Ratio: o.TraceSampleRate, Endpoint: o.OTLPEndpoint, Protocol: env["PROTOCOL"], Timeout: o.OTLPTimeout.Std(),
		Flush: min(o.OTLPTimeout.Std(), maxFlush, n.c.Server.DrainTimeout.Std()), Version: n.o.Version, Attrs: pairs(env["OTEL_RESOURCE_ATTRIBUTES"]),
		Logger: n.log.Logger, Registerer: n.reg,
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = env["ENDPOINT"]
	}
	for k, v := range pairs(env["HEADERS"]) {
		if cfg.Headers == nil {
			cfg.Headers = http.Header{}
		}
		cfg.Headers.Set(k, v)
	}
	cfg.Service = cfg.Attrs["service.name"]
	if s := env["OTEL_SERVICE_NAME"]; s != "" {
		cfg.Service = s
	}
	if cfg.Instance = cfg.Attrs["service.instance.id"]; cfg.Instance == "" {
		cfg.Instance, _ = os.Hostname() // without one there is none
	}
	t, note, err := telemetry.NewTracer(cfg)
	if err != nil {
		return nil, err
	}
	if note != "" {
		n.log.WarnContext(ctx, "configuration warning", "issue", note)
	}
	return t, nil
}

// maxFlush is the longest that a stop waits for a collector.
const maxFlush = 5 * time.Second

// otelVariables returns the variables of OpenTelemetry that are heeded: by what they set for
// the collector of traces, the special ones before the general ones, and the others by name.
func otelVariables(environ []string) map[string]string {
	all := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "OTEL_") {
			all[k] = strings.TrimSpace(v)
		}
	}
	for _, k := range []string{"ENDPOINT", "PROTOCOL", "HEADERS"} {
		all[k] = all["OTEL_EXPORTER_OTLP_"+k]
		if k == "ENDPOINT" && all[k] != "" && !strings.HasSuffix(all[k], ":4317") && all["OTEL_EXPORTER_OTLP_PROTOCOL"] != "grpc" {
			all[k] = strings.TrimSuffix(all[k], "/") + "/v1/traces" // it is where all signals go
		}
		if v := all["OTEL_EXPORTER_OTLP_TRACES_"+k]; v != "" {
			all[k] = v
		}
	}
	return all
}

// pairs reads "a=1,b=2", whose values are written as in URLs.
func pairs(list string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(list, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if k = strings.TrimSpace(k); !ok || k == "" {
			continue
		}
		v = strings.TrimSpace(v)
		if u, err := url.PathUnescape(v); err == nil {
			v = u
		}
		out[k] = v
	}
	return out
}
