package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"
)

// result is one series of an answer of Prometheus.
type result struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	Values [][2]any          `json:"values"`
}

// ask Prometheus a query at a time; zero is ten minutes ahead, past everything
// that was played.
func (b *backend) ask(query string, at time.Time) ([]result, error) {
	if at.IsZero() {
		at = time.Now().Add(10 * time.Minute)
	}
	resp, err := http.PostForm(b.url+"/api/v1/query", url.Values{"query": {query}, "time": {at.UTC().Format(time.RFC3339Nano)}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct{ Result []result }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", query, answer.Error)
	}
	return answer.Data.Result, nil
}

// value of a query that gives one number; ok is false if it gives none.
func (b *backend) value(query string, at time.Time) (v float64, ok bool) {
	b.t.Helper()
	all, err := b.ask(query, at)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(all) == 0 {
		return 0, false
	}
	return number(b.t, all[0].Value[1]), true
}

func number(t *testing.T, v any) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// stored returns every sample that Prometheus has under the names given by a
// pattern, of the last hours; nothing while it does not answer.
func (b *backend) stored(pattern string) []sample {
	b.t.Helper()
	all, err := b.ask(`{__name__=~"`+pattern+`"}[3h]`, time.Time{})
	if err != nil {
		return nil
	}
	var out []sample
	for _, r := range all {
		name := series(r.Metric["__name__"], r.Metric)
		for _, v := range r.Values {
			at, isNumber := v[0].(float64)
			if !isNumber {
				b.t.Fatalf("time %v is not a number", v[0])
			}
			out = append(out, sample{name, int64(at*1000 + 0.5), number(b.t, v[1])})
		}
	}
	return out
}

// waitFor n samples; more are an error that compare finds.
func (b *backend) waitFor(n int) {
	b.t.Helper()
	until(b.t, 3*time.Minute, fmt.Sprintf("Prometheus has %d samples", n), func() bool {
		time.Sleep(200 * time.Millisecond) // the answer is large
		return len(b.stored("freeswitch_.+")) >= n
	})
}

// push sends points of a gauge "probe" to the OTLP endpoint of Prometheus itself,
// in one request, and returns its status code.
func (b *backend) push(points map[int64]float64) int {
	b.t.Helper()
	var data []any
	for _, ms := range slices.Sorted(maps.Keys(points)) { // in another order, Prometheus drops the older one and says nothing
		data = append(data, map[string]any{"timeUnixNano": strconv.FormatInt(ms*1_000_000, 10), "asDouble": points[ms]})
	}
	body, err := json.Marshal(map[string]any{"resourceMetrics": []any{map[string]any{"scopeMetrics": []any{map[string]any{
		"metrics": []any{map[string]any{"name": "probe", "gauge": map[string]any{"dataPoints": data}}},
	}}}}})
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.Post(b.url+"/api/v1/otlp/v1/metrics", "application/json", bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
