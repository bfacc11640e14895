import type { CatalogEntry, Json } from '@app/core';
import type { Config } from '@app/platform/config/config.js';

type LinkSettings = Pick<
  Config,
  | 'CATALOG_URL'
  | 'CATALOG_LINK_URL'
  | 'CATALOG_LINK_NAME'
  | 'CATALOG_LINK_DESCRIPTION'
  | 'CATALOG_LINK_PROTOCOL'
>;

/** The record as the Catalog takes it: all fields of the metadata as they are, the id, and the links. */
export function catalogBody(entry: CatalogEntry, settings: LinkSettings): { [key: string]: Json } {
  return {
    ...entry.metadata,
    id: entry.id,
    links: entry.links.map((link) => ({
      name: link.name ?? settings.CATALOG_LINK_NAME ?? entry.id,
      description: link.description ?? settings.CATALOG_LINK_DESCRIPTION ?? '',
      protocol: settings.CATALOG_LINK_PROTOCOL,
      url: linkUrl(settings.CATALOG_LINK_URL ?? settings.CATALOG_URL ?? '', link.path),
    })),
  };
}

function linkUrl(base: string, path: string): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  return `${base.replace(/\/+$/, '')}/${encoded}`;
}

/** Whether a record that the Catalog holds is the one that `body` describes: every field of ours is there unchanged. */
export function isOurRecord(found: unknown, body: { [key: string]: Json }): boolean {
  if (found === null || typeof found !== 'object') return false;
  const record = found as Record<string, unknown>;
  return Object.entries(body).every(([key, value]) => sameJson(record[key], value));
}

function sameJson(a: unknown, b: Json): boolean {
  if (a === b) return true;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, Json>];
  const keys = Object.keys(right);
  return (
    Object.keys(left).length === keys.length &&
    keys.every((key) => Object.hasOwn(left, key) && sameJson(left[key], right[key] ?? null))
  );
}
