import type { AbortReason, Json } from '@app/core';
import type { ClaimedTask } from '../store/claim-tasks.js';

/** From the worker to the process that runs a task for it. */
export type ToSandbox =
  | { kind: 'run'; task: ClaimedTask }
  | { kind: 'abort'; reason: AbortReason }
  /** The plan may go on to its next task. */
  | { kind: 'next' }
  /** What became of a checkpoint: it is saved unless something was thrown. */
  | { kind: 'checkpointed'; id: number; thrown?: ThrownError };

/** From that process to the worker. */
export type FromSandbox =
  | { kind: 'ready' }
  | { kind: 'unbootable'; message: string }
  | { kind: 'progress'; percent: number; detail: Json | undefined }
  | { kind: 'log'; level: 'info' | 'warn'; message: string; fields: object }
  | { kind: 'checkpoint'; id: number; data: Json }
  /** The task is held by somebody else: an effect was refused. */
  | { kind: 'lost' }
  | { kind: 'planned'; key: string; payload: Json }
  | { kind: 'returned'; value: Json | undefined }
  | { kind: 'threw'; thrown: ThrownError };

/** An error on its way to another process. */
export interface ThrownError {
  kind: 'permanent' | 'abort' | 'other';
  message: string;
}
