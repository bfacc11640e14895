import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { JobTypeRegistry } from '@app/engine/registry/job-type-registry.js';
import { finishDocument } from './open-api-document.js';

/** Serves the OpenAPI document at /openapi.json and its page at /docs. Both are public: they hold no data. */
export function serveOpenApi(app: INestApplication): void {
  const labels = app.get(JobTypeRegistry).searchable;
  const description =
    'Long background jobs that people can watch, cancel and trust. Errors are problems as RFC 9457 has them.';
  const config = new DocumentBuilder()
    .setTitle('Longhaul')
    .setDescription(description)
    .setVersion('0.1')
    .setOpenAPIVersion('3.1.0')
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
    .addBearerAuth({
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'API key or JWT',
      description: 'An API key, lh_…, or a JSON web token of the identity provider that is configured.',
    })
    .addApiKey(
      { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key: lh_…' },
      'X-API-Key',
    )
    .build();
  SwaggerModule.setup('docs', app, () => finishDocument(SwaggerModule.createDocument(app, config), labels), {
    jsonDocumentUrl: 'openapi.json',
    customSiteTitle: 'Longhaul API',
  });
}
