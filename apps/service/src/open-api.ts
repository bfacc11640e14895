import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

/** Serves the OpenAPI document at /openapi.json and its page at /docs. Both are public: they hold no data. */
export function serveOpenApi(app: INestApplication): void {
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
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, config), {
    jsonDocumentUrl: 'openapi.json',
    customSiteTitle: 'Longhaul API',
  });
}
