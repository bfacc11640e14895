# One image, every role: SERVICE_TYPE decides what a container of the service does, and the simulated catalog and the
# migrations are other commands of the same image.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No install script is needed here: they set up the databases and git hooks of a developer's machine.
RUN npm ci --ignore-scripts
COPY tsconfig.json nest-cli.json prisma.config.ts ./
COPY prisma ./prisma
COPY libs ./libs
COPY apps ./apps
COPY scripts ./scripts
RUN npm run build

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

FROM node:24-bookworm-slim
ENV NODE_ENV=production PORT=3000
RUN groupadd --system --gid 10001 longhaul \
  && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin longhaul \
  # A new volume mounted here takes over this owner.
  && install --directory --owner=10001 --group=10001 /data
WORKDIR /app
# What runs belongs to root, so that the process cannot change its own code.
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json ./
COPY prisma ./prisma
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/live`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Exec form: node itself gets SIGTERM.
CMD ["node", "dist/apps/service/src/main.js"]
