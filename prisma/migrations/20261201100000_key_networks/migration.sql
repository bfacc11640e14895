-- From where a key may be used, as networks in CIDR notation; from everywhere when there is none.
ALTER TABLE "api_keys" ADD COLUMN "allowed_cidrs" TEXT[] NOT NULL DEFAULT ARRAY[]::TEXT[];
