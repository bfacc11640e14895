import 'reflect-metadata';

// A database of another zone or locale must not decide whether a test passes.
process.env['TZ'] = 'UTC';
