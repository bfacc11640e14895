import { secretHider } from '../observability/hide-secrets.js';
import type { LogRules } from '../observability/logger.js';
import type { Config } from './config.js';

type Settings = Pick<
  Config,
  | 'LOG_FIELDS'
  | 'DATABASE_URL'
  | 'REDIS_URL'
  | 'CATALOG_URL'
  | 'CATALOG_TOKEN'
  | 'CATALOG_LINK_URL'
  | 'JWT_SECRET'
  | 'SMTP_URL'
>;

/** What the log of a process with these settings may show, and the secrets that it must not. */
export function logRulesOf(config: Settings): LogRules {
  return { fields: config.LOG_FIELDS, secrets: secretsOf(config) };
}

/** Hides the secrets of these settings, and what looks like a credential, in a text that is stored or shown. */
export function hiderOf(config: Settings): (text: string) => string {
  return secretHider(secretsOf(config));
}

/** The secrets among the settings. */
function secretsOf(config: Settings): string[] {
  const { DATABASE_URL, REDIS_URL, CATALOG_URL, CATALOG_LINK_URL, SMTP_URL } = config;
  const addresses = [DATABASE_URL, REDIS_URL, CATALOG_URL, CATALOG_LINK_URL, SMTP_URL];
  const passwords = addresses.map((address) => (address === undefined ? '' : new URL(address).password));
  return [...passwords, config.CATALOG_TOKEN ?? '', config.JWT_SECRET ?? ''].filter(
    (secret) => secret !== '',
  );
}
