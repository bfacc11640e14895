const HIDDEN = '[hidden]';

/** Shorter ones would be found by chance in ordinary words; they are still hidden within addresses. */
const SHORTEST_SECRET = 8;

interface Credential {
  /** What every such text has; looking for it is several times quicker than for the pattern. */
  mark: string;
  pattern: RegExp;
  instead: string;
}

/** What is a credential wherever it stands. Quantifiers are bounded, or a long text would take quadratic time. */
const CREDENTIALS: readonly Credential[] = [
  // user:password@ of an address
  { mark: '://', pattern: /(\b[a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@"]{1,500}@/gi, instead: `$1${HIDDEN}@` },
  // an API key, also one that was cut short or mistyped
  { mark: 'lh_', pattern: /\blh_[0-9A-Za-z]{8}_[0-9A-Za-z]{8,}(_[0-9A-Za-z]*)?/g, instead: HIDDEN },
  // the secret of a webhook
  { mark: 'whsec_', pattern: /\bwhsec_[0-9A-Za-z+/=_-]{8,200}/g, instead: HIDDEN },
  // a JSON web token
  { mark: 'eyJ', pattern: /\beyJ[\w-]{8,1000}\.[\w-]*(\.[\w-]*)?/g, instead: HIDDEN },
  // the value of an Authorization header; a space stands in few other fields
  {
    mark: ' ',
    pattern: /\b(bearer|basic) (?=[\w~+/.=-]{0,500}\d)[\w~+/.=-]{8,}/gi,
    instead: `$1 ${HIDDEN}`,
  },
];

/** Hides credentials in a text: what looks like one, and the secrets that are given, also as JSON and URLs write them. */
export function secretHider(secrets: readonly string[] = []): (text: string) => string {
  const known = [...new Set(secrets.flatMap(spellings))]
    .filter((secret) => secret.length >= SHORTEST_SECRET)
    // The longest first: a secret may be a part of another.
    .toSorted((a, b) => b.length - a.length);
  return (text) => {
    let safe = text;
    for (const secret of known) safe = safe.replaceAll(secret, HIDDEN);
    for (const { mark, pattern, instead } of CREDENTIALS) {
      if (safe.includes(mark)) safe = safe.replace(pattern, instead);
    }
    return safe;
  };
}

function spellings(secret: string): string[] {
  return [secret, decoded(secret)].flatMap((text) => [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
  ]);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
