package service

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Supavisor relays sessions to the database for users named ROLE.TENANT, on
// the pooler's two ports. It does not pool. "migrate" and "eval" are what its
// container runs before the server.
func supavisor(ctx context.Context, args []string, _ io.Writer) error {
	if err := require("DATABASE_URL", "SECRET_KEY_BASE", "VAULT_ENC_KEY", "API_JWT_SECRET", "METRICS_JWT_SECRET", "POOLER_TENANT_ID"); err != nil {
		return err
	}
	if n := len(os.Getenv("VAULT_ENC_KEY")); n != 32 {
		return fmt.Errorf("VAULT_ENC_KEY must be 32 characters long, it has %d", n)
	}
	if n := len(os.Getenv("SECRET_KEY_BASE")); n < 64 {
		return fmt.Errorf("SECRET_KEY_BASE must be at least 64 characters long, it has %d", n)
	}
	if len(args) > 0 && args[0] == "migrate" {
		_, rest, _ := strings.Cut(os.Getenv("DATABASE_URL"), "://")
		return database(ctx, "postgres://"+rest, "set search_path to _supavisor")
	}
	if len(args) > 0 && args[0] == "eval" {
		source := dsn(environ("POSTGRES_HOST", "db"), environ("POSTGRES_PORT", "5432"), "pgbouncer", os.Getenv("POSTGRES_PASSWORD"), environ("POSTGRES_DB", "postgres"))
		return database(ctx, source, "select pgbouncer.get_auth('postgres')")
	}
	target := net.JoinHostPort(environ("POSTGRES_HOST", "db"), environ("POSTGRES_PORT", "5432"))
	for _, port := range []string{"5432", "6543"} {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { _ = listener.Close() })
		go relayAll(listener, target, os.Getenv("POOLER_TENANT_ID"))
	}
	return serve(ctx, "Supavisor", site{":" + environ("PORT", "4000"), mux(map[string]http.HandlerFunc{
		"GET /api/health": text(http.StatusNoContent, ""),
	})})
}

func relayAll(listener net.Listener, target, tenant string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed: the service ends
		}
		go func() {
			defer conn.Close()
			if err := relay(conn, target, tenant); err != nil {
				slog.Warn("session refused", "err", err)
			}
		}()
	}
}

// Codes of requests in place of a startup packet (PostgreSQL, protocol message
// formats).
const (
	protocol3  = 3 << 16
	sslRequest = 80877103
	gssRequest = 80877104
)

// Relay reads a client's startup packet, takes the tenant off the user's name
// and passes everything else on. Authentication is between client and server.
func relay(conn net.Conn, target, tenant string) error {
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	var body []byte
	for {
		var head [8]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		size, code := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
		if code == sslRequest || code == gssRequest {
			if _, err := conn.Write([]byte("N")); err != nil {
				return err
			}
			continue
		}
		if code>>16 != protocol3>>16 || size < 8 || size > 10_000 {
			return errors.New("this is no startup packet")
		}
		body = make([]byte, size-8)
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		break
	}
	startup, err := withoutTenant(body, tenant)
	if err != nil {
		message := "SFATAL\x00CXX000\x00M" + err.Error() + "\x00\x00"
		packet := append([]byte("E"), binary.BigEndian.AppendUint32(nil, uint32(len(message)+4))...)
		_, _ = conn.Write(append(packet, message...))
		return err
	}
	_ = conn.SetReadDeadline(time.Time{})
	server, err := net.DialTimeout("tcp", target, 10*time.Second)
	if err != nil {
		return err
	}
	defer server.Close()
	packet := binary.BigEndian.AppendUint32(nil, uint32(len(startup)+8))
	packet = append(binary.BigEndian.AppendUint32(packet, protocol3), startup...)
	if _, err := server.Write(packet); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(server, conn)
		_ = server.Close()
	}()
	_, _ = io.Copy(conn, server) // either side may hang up at any time
	return nil
}

// WithoutTenant returns the parameters of a startup packet with the tenant
// taken off the user's name.
func withoutTenant(body []byte, tenant string) ([]byte, error) {
	fields := strings.Split(string(body), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "user" {
			continue
		}
		user, found := strings.CutSuffix(fields[i+1], "."+tenant)
		if !found {
			return nil, errors.New("tenant or user not found")
		}
		fields[i+1] = user
		return []byte(strings.Join(fields, "\x00")), nil
	}
	return nil, errors.New("the startup packet names no user")
}
