/** Where the Catalog is and how one proves oneself there, taken apart so that no secret stays in a URL. */
export interface CatalogAddress {
  /** `…/metadata`, without credentials */
  readonly collection: URL;
  /** value of the Authorization header, if any */
  readonly authorization: string | undefined;
  /** what no message may contain */
  readonly secrets: readonly string[];
}

/**
 * Reads the base URL and token of the Catalog. Credentials in the URL become Basic authorization unless there is a
 * token.
 * @throws {TypeError} on a URL that is not http(s) or a token that no header can carry; it never repeats either.
 */
export function catalogAddress(baseUrl: string, token: string | undefined): CatalogAddress {
  const base = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
  if (base?.protocol !== 'http:' && base?.protocol !== 'https:') {
    throw new TypeError('The URL of the Catalog must be an http or https URL.');
  }
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new TypeError('The token of the Catalog must be printable ASCII without spaces.');
  }
  // Set and not resolved: a path that begins with two slashes would name another host.
  const collection = new URL(base.origin);
  collection.pathname = `${base.pathname.replace(/\/+$/, '')}/metadata`;
  const { authorization: basic, secrets } = urlCredentials(base);
  return {
    collection,
    authorization: token === undefined ? basic : `Bearer ${token}`,
    secrets: token === undefined ? secrets : [token, ...secrets],
  };
}

function urlCredentials({ username, password }: URL): { authorization?: string; secrets: string[] } {
  if (username === '' && password === '') return { secrets: [] };
  const pair = `${decoded(username)}:${decoded(password)}`;
  const encoded = Buffer.from(pair, 'utf8').toString('base64');
  // A user name is shown only where a password stands beside it: alone it is the secret.
  const bare = password === '' ? [username, decoded(username)] : [password, decoded(password)];
  return { authorization: `Basic ${encoded}`, secrets: [`${username}:${password}`, pair, encoded, ...bare] };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
