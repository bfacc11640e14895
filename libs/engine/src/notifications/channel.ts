import type { DueDelivery, DeliveryEnd, DeliveryKind } from '../store/deliveries.js';

/** What a try came to. `again` leaves it to the number of the try whether there is another. */
export type TryResult = Pick<DeliveryEnd, 'status' | 'code' | 'reason' | 'gone'>;

/** A way to tell recipients. */
export interface Channel {
  readonly kind: DeliveryKind;
  /** Tries at a time in one process. */
  readonly atOnce: number;
  /** Of these, for one recipient. */
  readonly perRecipient: number;
  /** Of these, for one owner. */
  readonly perOwner: number;
  /** Tries once. Takes no longer than the timeouts of the channel; rejects only for a fault of ours. */
  send(delivery: DueDelivery, signal: AbortSignal): Promise<TryResult>;
  close(): void;
}
