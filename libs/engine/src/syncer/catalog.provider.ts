import type { FactoryProvider } from '@nestjs/common';
import { CatalogClient } from '@app/platform/catalog/catalog-client.js';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';

/** Injection token of the client of the Catalog. */
export const CATALOG = Symbol('CATALOG');

/** A record that is read back may be as large as one that was posted. */
const MOST_REPLY_BYTES = 2 * 1024 * 1024;

export const catalogProvider: FactoryProvider<CatalogClient> = {
  provide: CATALOG,
  inject: [CONFIG],
  useFactory: (config: Config) =>
    new CatalogClient({
      url: config.CATALOG_URL ?? '',
      timeoutMs: config.CATALOG_TIMEOUT,
      maxReplyBytes: MOST_REPLY_BYTES,
      ...(config.CATALOG_TOKEN === undefined ? {} : { token: config.CATALOG_TOKEN }),
    }),
};
