import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { JobTypeRegistry } from '@app/engine/registry/job-type-registry.js';

/** Serves the OpenAPI document at /openapi.json and its page at /docs. Both are public: they hold no data. */
export function serveOpenApi(app: INestApplication): void {
  const labels = app.get(JobTypeRegistry).searchable;
  const description =
    'Long background jobs that people can watch, cancel and trust. Errors are problems as RFC 9457 has them.';
  const config = new DocumentBuilder()
    .setTitle('Longhaul')
    .setDescription(description)
    .setVersion('0.1')
    .addBearerAuth({
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'API key',
      description: 'An API key: lh_…',
    })
    .addApiKey(
      { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key: lh_…' },
      'X-API-Key',
    )
    .build();
  SwaggerModule.setup('docs', app, () => withLabels(SwaggerModule.createDocument(app, config), labels), {
    jsonDocumentUrl: 'openapi.json',
    customSiteTitle: 'Longhaul API',
  });
}

/** The filters of a list that depend on the job types of this process. */
function withLabels(document: OpenAPIObject, keys: string[]): OpenAPIObject {
  const description = 'Jobs with this label. Several with commas between them, 20 at most.';
  const parameters = keys.map((key) => ({
    name: `labels.${key}`,
    in: 'query' as const,
    required: false,
    description,
    schema: { type: 'string' as const },
  }));
  document.paths['/jobs']?.get?.parameters?.push(...parameters);
  return document;
}
