import 'reflect-metadata';
import { Body, Controller, Get, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';

/** What every request costs before anything is done for it. */
@Controller('bare')
class BareController {
  @Get()
  read() {
    return { ok: true };
  }

  @Post()
  write(@Body() body: object) {
    return body;
  }
}

@Module({ controllers: [BareController] })
class BareModule {}

// Tells its parent where it listens, and lives as long as that.
const app = await NestFactory.create<NestFastifyApplication>(BareModule, new FastifyAdapter(), {
  logger: false,
});
await app.listen(0, '127.0.0.1');
process.once('disconnect', () => void app.close());
process.send?.(await app.getUrl());
