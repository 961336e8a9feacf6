#!/usr/bin/env bash
# Makes the film of the demonstration anew, with Debian's ffmpeg and fonts-dejavu-core: 16 seconds as an MP4 whose index comes
# first, and the same as HLS in fragmented MP4, eight segments of two seconds. What it makes is in the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

rm -f film.mp4 init.mp4 index.m3u8 ./*.m4s

# Colours that drift, the time, and two tones that swell. A key frame every two seconds.
ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i 'gradients=size=480x270:rate=24:duration=16:speed=0.02:nb_colors=4:seed=7:c0=0x0b2545:c1=0x13a89e:c2=0xf2a541:c3=0xd1495b' \
    -f lavfi -i "aevalsrc=0.12*sin(2*PI*220*t)*(0.6+0.4*sin(PI*t/2))+0.08*sin(2*PI*330*t)*(0.5+0.5*sin(PI*t)):s=44100:d=16" \
    -vf "drawtext=font=DejaVu Sans Mono:text='%{pts\\:hms}':x=(w-tw)/2:y=(h-th)/2:fontsize=40:fontcolor=white@0.9" \
    -c:v libx264 -preset veryslow -profile:v main -crf 35 -pix_fmt yuv420p -g 48 -keyint_min 48 -sc_threshold 0 \
    -c:a aac -b:a 24k -ac 1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -movflags +faststart film.mp4

ffmpeg -hide_banner -loglevel error -y -i film.mp4 -c copy -fflags +bitexact -f hls -hls_time 2 -hls_playlist_type vod \
    -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 -hls_segment_filename '%d.m4s' index.m3u8
