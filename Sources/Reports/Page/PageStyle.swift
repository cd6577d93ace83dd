/// How pages look: one sheet, light and dark, wide and narrow.
enum PageStyle {
  static var sheet: String { variables + "\n" + layout + "\n" + parts + "\n" + figures }

  /// The inks as variables and classes.
  private static var variables: String {
    func color(_ value: UInt32) -> String {
      let digits = String(value, radix: 16)
      return "#" + String(repeating: "0", count: 6 - digits.count) + digits
    }
    func list(_ value: (Ink) -> UInt32) -> String {
      Ink.all.map { "--\($0.className):\(color(value($0)))" }.joined(separator: ";")
    }
    let classes = Ink.all.map { ".ink-\($0.className){color:var(--\($0.className))}" }.joined()
    return """
      :root{color-scheme:light dark;\(list { $0.colors.light })}
      @media(prefers-color-scheme:dark){:root{\(list { $0.colors.dark })}}
      \(classes)
      """
  }

  private static let layout = #"""
    :root{--page:#f5f6f8;--card:#fff;--line:#dde2e7;--wash:#eef1f4;--link:#0b62a8;
    --good:#0b6b3a;--good-wash:#e0f3e8;--even:#7a5200;--even-wash:#fbf0d6;--bad:#a3192b;--bad-wash:#fbe4e6}
    @media(prefers-color-scheme:dark){:root{--page:#0d1014;--card:#14181d;--line:#2d353e;--wash:#1d232a;--link:#7cc0f5;
    --good:#7ddba5;--good-wash:#12301f;--even:#f0c76a;--even-wash:#352a10;--bad:#ff9aa5;--bad-wash:#3b171c}}
    *{box-sizing:border-box}
    html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
    @media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
    body{margin:0;background:var(--page);color:var(--text);
    font:15.5px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
    main,header,footer{max-width:1380px;margin:0 auto;padding:0 24px}
    header{padding-top:36px}
    footer{padding-bottom:48px;color:var(--faint);font-size:13px}
    h1{font-size:30px;line-height:1.2;margin:0 0 6px;letter-spacing:-.015em;overflow-wrap:anywhere}
    h2{font-size:20px;margin:0 0 4px;letter-spacing:-.01em}
    h3{font-size:15.5px;margin:22px 0 8px}
    p{margin:0 0 10px;max-width:82ch;overflow-wrap:anywhere}
    .sub{color:var(--faint)}
    .lead{font-size:17px;line-height:1.6;max-width:92ch}
    .note{color:var(--faint);font-size:13.5px}
    .box+.note{margin-top:9px}
    a{color:var(--link)}
    nav{position:sticky;top:0;z-index:5;background:var(--page);border-bottom:1px solid var(--line);margin-top:14px}
    nav ul{max-width:1380px;margin:0 auto;padding:9px 24px;list-style:none;display:flex;gap:20px;overflow-x:auto;
    font-size:14px;white-space:nowrap}
    nav a{text-decoration:none;color:var(--faint)}
    nav a:hover,nav a:focus-visible{color:var(--text);text-decoration:underline}
    section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin:18px 0;
    scroll-margin-top:52px;min-width:0}
    :focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
    code,pre,.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
    pre{margin:6px 0;padding:10px 12px;background:var(--wash);border-radius:8px;overflow-x:auto;white-space:pre-wrap;
    overflow-wrap:anywhere;user-select:all;-webkit-user-select:all}
    pre.log{white-space:pre;max-height:260px;overflow:auto}
    @media(max-width:640px){main,header,footer{padding:0 12px}header{padding-top:22px}nav ul{padding:8px 12px;gap:16px}
    section{padding:16px 13px;border-radius:10px;margin:12px 0}h1{font-size:24px}.lead{font-size:16px}}
    @media(max-width:640px){table th:first-child{min-width:32vw;max-width:42vw;white-space:normal;overflow-wrap:anywhere}}
    @media print{nav{display:none}section{break-inside:avoid-page;border:0;padding:0}}
    """#

  private static let parts = #"""
    dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(45%,170px),1fr));gap:12px 22px;margin:6px 0 14px}
    .facts dt{color:var(--faint);font-size:12.5px}
    .facts dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
    .box{overflow-x:auto;border:1px solid var(--line);border-radius:8px;margin-top:12px}
    table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
    th,td{padding:7px 11px;text-align:right;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap}
    tbody tr:last-child td,tbody tr:last-child th{border-bottom:0}
    thead th{background:var(--wash);font-weight:600;vertical-align:bottom;line-height:1.3}
    th:first-child,td:first-child{text-align:left}
    td.left,th.left{text-align:left}
    tbody th{font-weight:600}
    th:first-child{position:sticky;left:0;z-index:1;background:var(--card);box-shadow:1px 0 0 var(--line)}
    thead th:first-child{background:var(--wash)}
    td small,th small{display:block;color:var(--faint);font-weight:400;font-size:11.5px}
    td.options{white-space:normal;min-width:210px;max-width:320px;text-align:left;overflow-wrap:anywhere;color:var(--faint)}
    tbody tr:hover td,tbody tr:hover th{background:var(--wash)}
    th button{all:unset;cursor:pointer;display:inline-block;text-align:inherit}
    th button:focus-visible{outline:2px solid var(--link);outline-offset:3px;border-radius:3px}
    th button::after{content:"\2195";color:var(--faint);opacity:.55;margin-left:5px;font-weight:400}
    th[aria-sort=ascending] button::after{content:"\2191";opacity:1;color:var(--text)}
    th[aria-sort=descending] button::after{content:"\2193";opacity:1;color:var(--text)}
    .swatch{display:inline-block;width:26px;height:14px;vertical-align:-2px;margin-right:6px}
    .badge{display:inline-block;padding:1px 8px;border-radius:9px;font-size:11.5px;line-height:1.5;background:var(--wash);
    color:var(--faint);white-space:normal}
    .badge.good{background:var(--good-wash);color:var(--good)}
    .badge.even{background:var(--even-wash);color:var(--even)}
    .badge.bad{background:var(--bad-wash);color:var(--bad)}
    .winners td{text-align:left;min-width:172px}
    .winners td div{margin-bottom:2px}
    .winners td:nth-child(2){background:var(--wash)}
    .alert{padding:10px 14px;border-radius:8px;background:var(--bad-wash);color:var(--bad);max-width:none}
    .fine{padding:8px 14px;border-radius:8px;background:var(--good-wash);color:var(--good);max-width:none}
    details{border-top:1px solid var(--line);padding:9px 0}
    details:last-child{padding-bottom:0}
    summary{cursor:pointer;font-weight:600;font-size:14px}
    summary .note{font-weight:400}
    details details{margin-left:14px}
    ul.plain{margin:6px 0;padding-left:20px;max-width:92ch}
    ul.plain li{margin-bottom:5px}
    """#

  private static let figures = #"""
    .legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:12px 0 4px;padding:0;list-style:none;font-size:13.5px}
    .tabs>input{position:absolute;opacity:0;pointer-events:none}
    .tabs>label{display:inline-block;padding:5px 14px;border:1px solid var(--line);border-radius:16px;margin:8px 6px 0 0;
    cursor:pointer;font-size:13.5px;color:var(--faint)}
    .tabs>input:checked+label{background:var(--text);border-color:var(--text);color:var(--card)}
    .tabs>input:focus-visible+label{outline:2px solid var(--link);outline-offset:2px}
    .tabs>.panel{display:none}
    .tabs>input:nth-of-type(1):checked~.panel:nth-of-type(1),.tabs>input:nth-of-type(2):checked~.panel:nth-of-type(2),
    .tabs>input:nth-of-type(3):checked~.panel:nth-of-type(3),.tabs>input:nth-of-type(4):checked~.panel:nth-of-type(4),
    .tabs>input:nth-of-type(5):checked~.panel:nth-of-type(5),.tabs>input:nth-of-type(6):checked~.panel:nth-of-type(6),
    .tabs>input:nth-of-type(7):checked~.panel:nth-of-type(7),.tabs>input:nth-of-type(8):checked~.panel:nth-of-type(8),
    .tabs>input:nth-of-type(9):checked~.panel:nth-of-type(9),.tabs>input:nth-of-type(10):checked~.panel:nth-of-type(10),
    .tabs>input:nth-of-type(11):checked~.panel:nth-of-type(11),.tabs>input:nth-of-type(12):checked~.panel:nth-of-type(12)
    {display:block}
    .plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:22px 26px;margin-top:16px}
    .plots figure,.heat{margin:0;min-width:0}
    figcaption{font-size:13.5px;font-weight:600;margin-bottom:4px;overflow-wrap:anywhere}
    .plots svg,.heat svg{display:block;width:100%;height:auto;overflow:visible}
    .point{cursor:default}
    .point:hover path{stroke-width:3}
    #tip{position:absolute;z-index:9;pointer-events:none;background:var(--text);color:var(--card);padding:8px 11px;
    border-radius:7px;font-size:12.5px;line-height:1.45;white-space:pre-line;max-width:min(330px,88vw);overflow-wrap:anywhere;
    font-variant-numeric:tabular-nums}
    .maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,250px),1fr));gap:16px 22px;margin:10px 0 14px}
    .heat svg{max-width:300px}
    .heat figcaption{font-weight:400}
    .heat output{display:block;min-height:18px;font-size:12px;color:var(--faint);font-variant-numeric:tabular-nums}
    .control{display:flex;flex-wrap:wrap;gap:6px 22px;align-items:center;font-size:13.5px;margin:8px 0;color:var(--faint)}
    .control label{display:flex;gap:9px;align-items:center;max-width:100%}
    input[type=range]{accent-color:var(--link);width:190px;max-width:46vw}
    .exhibit>summary{font-size:15px}
    .tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,calc(var(--tile,150px)*2 + 4px)),max-content));
    gap:14px 16px}
    .tile{margin:0;min-width:0;width:calc(var(--tile,150px)*2 + 4px);max-width:100%}
    .tile.single{width:var(--tile,150px)}
    .tile .pair{display:grid;grid-template-columns:1fr 1fr;gap:4px}
    .tile.single .pair{grid-template-columns:1fr}
    .film{position:relative;overflow:hidden;background:var(--wash);border-radius:4px}
    .film[tabindex]{cursor:zoom-in;touch-action:manipulation;user-select:none;-webkit-user-select:none}
    .film img{position:absolute;left:0;top:calc(var(--frame,0)*-100%);width:100%;height:calc(var(--frames)*100%);
    pointer-events:none}
    .film.small img{image-rendering:pixelated}
    .film.held::after{content:"dense";position:absolute;left:4px;top:4px;background:#000a;color:#fff;font-size:11px;
    padding:0 6px;border-radius:3px}
    .tile figcaption{font-size:12.5px;font-weight:600;margin:4px 0 0;line-height:1.35}
    .tile figcaption small{display:block;font-weight:400;color:var(--faint);font-size:11.5px}
    """#
}
