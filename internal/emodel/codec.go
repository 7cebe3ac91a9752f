package emodel

// Mark says where a codec's constants come from.
type Mark uint8

// The marks.
const (
	// Verified: read in at least one source that cites the table of G.113.
	Verified Mark = iota + 1
	// FromMemory: plausible and not checked. Used only if provisional constants
	// are switched on.
	FromMemory
	// Computed: follows from other constants.
	Computed
)

// Codec is a row of the constants of ITU-T G.113 (09/2024), Appendices I, IV
// and V.
type Codec struct {
	// Name as FreeSWITCH prints it.
	Name     string
	Standard Standard
	Ie       float64
	// Bpl is 0 where no value is published.
	Bpl  float64
	Mark Mark
	// Source is the table, and what had to be assumed to choose the row.
	Source string
}

// Bpl of G.711 with and without concealment (G.113, Table I.4).
const (
	bplConcealed = 25.1
	bplBare      = 4.3
)

// codecs are sorted by name; a name stands once. G.711's Bpl is that with
// concealment. FreeSWITCH's names say nothing of bit rates that vary, so codecs
// whose row depends on one (AMR-WB, EVS, Opus) are not here, nor are those
// without any row (AMR, iLBC, Speex).
var codecs = [...]Codec{
	{"AAL2-G726-16", G107, 50, 0, Verified, "Table I.1, G.726 16 kbit/s"},
	{"AAL2-G726-24", G107, 25, 0, Verified, "Table I.1, G.726 24 kbit/s"},
	{"AAL2-G726-32", G107, 7, 0, Verified, "Table I.1, G.726 32 kbit/s"},
	{"AAL2-G726-40", G107, 2, 0, Verified, "Table I.1, G.726 40 kbit/s"},
	{"G722", G1071, 13, 0, FromMemory, "Table IV.1, G.722 64 kbit/s"},
	{"G723", G107, 15, 16.1, Verified, "Tables I.1 and I.4, G.723.1 6.3 kbit/s; FreeSWITCH does not tell the rate"},
	{"G726-16", G107, 50, 0, Verified, "Table I.1, G.726 16 kbit/s"},
	{"G726-24", G107, 25, 0, Verified, "Table I.1, G.726 24 kbit/s"},
	{"G726-32", G107, 7, 0, Verified, "Table I.1, G.726 32 kbit/s"},
	{"G726-40", G107, 2, 0, Verified, "Table I.1, G.726 40 kbit/s"},
	{"G728", G107, 7, 0, Verified, "Table I.1, G.728 16 kbit/s"},
	{"G729", G107, 11, 19.0, Verified, "Tables I.1 and I.4, G.729A with VAD: the only G.729 row with a Bpl"},
	{"GSM", G107, 20, 0, FromMemory, "Table I.1, GSM-FR 13 kbit/s"},
	{"PCMA", G107, 0, bplConcealed, Verified, "Tables I.1 and I.4, G.711"},
	{"PCMU", G107, 0, bplConcealed, Verified, "Tables I.1 and I.4, G.711"},
}

// Codecs returns the constants, sorted by name.
func Codecs() []Codec { return append([]Codec(nil), codecs[:]...) }

// g711 reports whether the concealment assumption applies to the codec.
func (c Codec) g711() bool { return c.Name == "PCMU" || c.Name == "PCMA" }
